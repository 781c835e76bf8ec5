"""The verbs as methods. Generated from the grammar by `python -m workbench.stubs`; do not edit."""

# ruff: noqa
# fmt: off
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from sessions.model.units import Neuron
from sessions.results.artifacts import Deleted, Exported, FileShown, FilesVerified, Fingerprints, Imported, Listed, Loaded, ModelExported, Saved
from sessions.results.circuits import CircuitHeldAgainst, CircuitsCompared, Discovered, Edges, Faithfulness, Narrowed, NeuronCard, NeuronTable, UniversalShown, VectorShown, VectorsCompared, Verified
from sessions.results.control import Cleared, CommandFiles, Expected, Help, Info, Quit, Ran, SettingsShown
from sessions.results.edits import AdapterShown, AdaptersListed, EditInspected, EditsShown, Ensembled, Evaluated, ProblemsWritten, Rewritten, SubspaceCut
from sessions.results.interventions import Compared, PresetShown, StrengthShown, Swept, SweptGrid, WorkingSet
from sessions.results.prompting import Distribution, Forgotten, Generated, HistoryShown, ModelOpened, PromptSet, Said, Tokens
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
        load_in: Literal["8bit", "4bit"] | None = None,
        trust_remote_code: bool = False,
        again: bool = False,
    ) -> ModelOpened:
        """Open a model, or describe the one that is open."""
    def prompt(
        self,
        *text: str,
        raw: bool = False,
        system: str | None = None,
        thinking: Literal["on", "off"] | None = None,
        generate: bool = False,
        max_tokens: int | None = None,
    ) -> PromptSet:
        """Set the prompt; the seed, if there was one, is cleared."""
    def seed(
        self,
        *text: str,
    ) -> PromptSet:
        """Set how the reply begins, so that the next token is the one to explain."""
    def tokens(
        self,
    ) -> Tokens:
        """Show the exact tokens the model reads: position, id, text, and how many BOS there are."""
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
        """Let the model continue the prompt, token by token."""
    def top(
        self,
        count: int = 10,
    ) -> Distribution:
        """Show the likeliest next tokens after the prompt and seed."""
    def prob(
        self,
        *texts: str,
    ) -> Distribution:
        """Show the probability, logit and rank of chosen tokens as the next token."""
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
        """Talk to the model; it remembers the conversation."""
    def history(
        self,
        *,
        last: int | None = None,
    ) -> HistoryShown:
        """Show the conversation: every turn, thoughts included."""
    def forget(
        self,
        count: int | None = None,
        *,
        oldest: bool = False,
    ) -> Forgotten:
        """Clear the conversation, or its last exchanges."""
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
        force: bool = False,
    ) -> Discovered:
        """Find the neurons that carry the next token."""
    def neurons(
        self,
        selection: str | Neuron | Sequence[Neuron] = 'all',
        *,
        rows: int | None = None,
        tokens: int = 3,
    ) -> NeuronTable:
        """Show neurons with their attribution, activation, and the tokens their output pushes."""
    def keep(
        self,
        selection: str | Neuron | Sequence[Neuron],
    ) -> Narrowed:
        """Narrow the circuit to a selection."""
    def drop(
        self,
        selection: str | Neuron | Sequence[Neuron],
    ) -> Narrowed:
        """Leave a selection out of the circuit."""
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
        """Find the neurons that differ most between two sets of prompts."""
    def neuron(
        self,
        neuron: str | Neuron | Sequence[Neuron],
        *,
        tokens: int = 8,
        no_verify: bool = False,
    ) -> NeuronCard:
        """Show all that is known of one neuron."""
    def verify(
        self,
        selection: str | Neuron | Sequence[Neuron] = 'all',
        *,
        reference: str = 'zero',
        reference_seed: str | None = None,
        batch: int | None = None,
        force: bool = False,
    ) -> Verified:
        """Measure the exact effect of each neuron: the target without it, one neuron at a time."""
    def edges(
        self,
        selection: str | Neuron | Sequence[Neuron] = 'top100',
        *,
        targets: int = 30,
        top: int = 20,
        graphviz: str | Path | Sequence[str | dict[str, Any]] | None = None,
        force: bool = False,
    ) -> Edges:
        """Show how relevance flows from neuron to neuron inside the circuit."""
    def faithfulness(
        self,
        file: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        raw: bool = False,
        sizes: str = '10,25,50,100,200,400',
        order: Literal["strongest", "helping"] = 'strongest',
        reference: str = 'mean',
        means: str | Path | Sequence[str | dict[str, Any]] | None = None,
        controls: int | None = None,
        seed: int | None = None,
        batch: int | None = None,
        force: bool = False,
    ) -> Faithfulness:
        """Measure how much of the behaviour the circuit keeps alone, and how much is left without it."""
    def universal(
        self,
        *,
        tokens: int = 3,
    ) -> UniversalShown:
        """Show the model's universal neurons, which discover leaves out."""
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
        """Make a control vector from two sets of prompts and save it; with a name alone, show it."""
    def compare(
        self,
        first: str,
        second: str = 'current',
        *,
        top: int | None = None,
        force: bool = False,
    ) -> CircuitHeldAgainst | CircuitsCompared | RoundsCompared | VectorsCompared:
        """Compare two circuits, two vectors, a circuit and a vector, or two rounds of training."""
    def ablate(
        self,
        selection: str | Neuron | Sequence[Neuron] = 'all',
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
        force: bool = False,
    ) -> Compared | WorkingSet:
        """Ablate neurons and show what the model says without them."""
    def amplify(
        self,
        selection: str | Neuron | Sequence[Neuron] = 'all',
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
        """Multiply neurons by a factor (2 unless given) and show what changes."""
    def shift(
        self,
        selection: str | Neuron | Sequence[Neuron],
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
        """Add a constant to neurons, whatever they are, and show what changes."""
    def set_to(
        self,
        selection: str | Neuron | Sequence[Neuron],
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
        """Hold neurons at a value and show what changes."""
    def arms(
        self,
        *lines: str,
        max_tokens: int | None = None,
    ) -> Compared:
        """Run any number of interventions side by side, as the rows of one batch."""
    def sweep(
        self,
        *words: str | float | Neuron | Sequence[Neuron],
        adapter: str | Sequence[str] | None = None,
        against: str | None = None,
        also: str | Sequence[str] | None = None,
        prompts: str | Path | Sequence[str | dict[str, Any]] | None = None,
        raw: bool = False,
        max_tokens: int | None = None,
        batch: int | None = None,
        save: str | None = None,
        resume: str | None = None,
        chart: str | Path | Sequence[str | dict[str, Any]] | None = None,
        force: bool = False,
        at: Literal["all", "circuit"] = 'all',
        all: bool = False,
        prompt: bool = False,
        generated: bool = False,
        thought: bool = False,
        answer: bool = False,
        positions: str | None = None,
        marker: str | None = None,
    ) -> Swept | SweptGrid:
        """Run a range of multipliers on the same neurons, as one batched job."""
    def suppress(
        self,
        selection: str | Neuron | Sequence[Neuron] | None = None,
    ) -> WorkingSet:
        """Hold neurons at zero in everything the session does, until they are released."""
    def release(
        self,
        selection: str | Neuron | Sequence[Neuron],
    ) -> WorkingSet:
        """End suppression and live interventions of neurons."""
    def multiplier(
        self,
        factor: float | None = None,
    ) -> WorkingSet:
        """Multiply the circuit's neurons in every text from now on: in top, prob, generate and say."""
    def strength(
        self,
        turn: str | None = None,
        *,
        of: Literal["live", "alpha", "beta"] | None = None,
        edit: str | None = None,
    ) -> StrengthShown:
        """Turn what is in force up or down, or show its strength."""
    def preset_save(
        self,
        name: str,
        *,
        force: bool = False,
    ) -> Saved:
        """Save what is live under a name."""
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
        """Make a saved preset live."""
    def preset_list(
        self,
        name: str | None = None,
        *,
        tier: str | None = None,
        region: str | None = None,
    ) -> Listed | PresetShown:
        """List the presets that are saved or, with a name, the neurons of one."""
    def edits_list(
        self,
    ) -> EditsShown:
        """List the edits of the weights, in order."""
    def edits_on(
        self,
        which: str,
    ) -> EditsShown:
        """Turn an edit back on, at its place in the order."""
    def edits_off(
        self,
        which: str,
    ) -> EditsShown:
        """Turn an edit off, and keep its place in the order."""
    def edits_load(
        self,
        which: str,
        *,
        force: bool = False,
    ) -> EditsShown:
        """Apply a saved edit."""
    def edits_compare(
        self,
        which: str = 'all',
        *,
        max_tokens: int | None = None,
    ) -> Compared:
        """Answer the prompt without and with the edits, side by side."""
    def inspect(
        self,
        which: str,
        *,
        rows: int | None = None,
        tokens: int = 3,
        force: bool = False,
    ) -> EditInspected:
        """Show what an edit changes: norms, what its neurons read and push, the share of a matrix that is cut."""
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
        """Rewrite a neuron so that it makes the model say a token where examples have it."""
    def adapter_list(
        self,
    ) -> AdaptersListed:
        """List the kept adapters, and which of them are on."""
    def adapter_load(
        self,
        which: str,
        *,
        as_: str | None = None,
        weight: float | None = None,
        force: bool = False,
    ) -> AdapterShown:
        """Load a LoRA adapter onto the model: a kept one, a PEFT folder, or the adapter of a round."""
    def adapter_on(
        self,
        which: str,
    ) -> AdapterShown:
        """Turn an adapter back on, at its place in the order."""
    def adapter_off(
        self,
        which: str,
    ) -> AdapterShown:
        """Turn an adapter off, and keep its place in the order."""
    def adapter_merge(
        self,
        which: str,
    ) -> AdapterShown:
        """Merge an adapter that is on into the weights, and report the rounding error."""
    def adapter_unmerge(
        self,
        which: str,
    ) -> AdapterShown:
        """Undo a merge: restore the exact weights, and keep the adapter on beside them."""
    def adapter_save(
        self,
        which: str,
        *,
        to: str | Path | Sequence[str | dict[str, Any]],
        force: bool = False,
    ) -> AdapterShown:
        """Write an adapter to a PEFT folder for other programs, scaled by its current weight."""
    def adapter_delete(
        self,
        which: str,
        *,
        restore: bool = False,
    ) -> AdapterShown | Deleted:
        """Move a kept adapter to the trash, or restore the one last deleted under its name."""
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
        """Combine weighted adapters into one, and load that in their place."""
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
    ) -> AtlasBuilt:
        """Record what every neuron does over a corpus: extremes in context, mean, spread, firing rate."""
    def atlas_show(
        self,
        neuron: str | Neuron | Sequence[Neuron],
        *,
        name: str | None = None,
        rows: int | None = None,
        force: bool = False,
    ) -> AtlasShown:
        """Show a neuron's extremes over the corpus of an atlas, each in its context."""
    def atlas_top(
        self,
        layer: str | int | tuple[int, int] | range,
        *,
        name: str | None = None,
        rows: int | None = None,
        by: Literal["magnitude", "positive"] = 'magnitude',
        force: bool = False,
    ) -> AtlasTop:
        """List the neurons of a layer with the largest activations over the corpus of an atlas."""
    def atlas_list(
        self,
    ) -> Listed:
        """List the atlases that are saved."""
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
        """Find the neurons that hardly ever fire, over a corpus, or in one part of the model's own texts."""
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
        """Take the mean activation of every neuron over texts, and save it under a name."""
    def means_show(
        self,
        name: str,
        selection: str | Neuron | Sequence[Neuron] | None = None,
        *,
        rows: int | None = None,
        force: bool = False,
    ) -> MeansShown:
        """Show saved means: of each layer, and of single neurons."""
    def means_list(
        self,
    ) -> Listed:
        """List the means that are saved."""
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
        """Save the hidden state at one position of a text as a vector."""
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
        """Put captured states into another text and generate from there."""
    def sae_load(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        layer: int | None = None,
        site: Literal["resid_pre", "resid_post", "mlp_out", "attn_out"] | None = None,
        architecture: Literal["standard", "jumprelu", "topk", "gated"] | None = None,
        k: int | None = None,
    ) -> AutoencoderOpened:
        """Open a sparse autoencoder and describe it."""
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
        """Decompose a state into the features of a sparse autoencoder."""
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
        """Replace a state with an autoencoder's reconstruction of it, and generate from there."""
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
        """Cut a subspace out of what chosen layers write to the residual stream: an edit of their weights."""
    def surgery_problems(
        self,
        file: str | Path | Sequence[str | dict[str, Any]],
        *,
        count: int = 100,
        seed: int = 0,
        tasks: str | None = None,
        force: bool = False,
    ) -> ProblemsWritten:
        """Write problems in seven languages to a file, with their answers."""
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
        keep: str | Path | Sequence[str | dict[str, Any]] | None = None,
        force: bool = False,
    ) -> Evaluated:
        """Answer a file of tasks with and without the edits, and count what is right."""
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
        no_control: bool = False,
        force: bool = False,
        anew: bool = False,
        as_: str | None = None,
        add_recruits: int | None = None,
        neurons: str | None = None,
        continue_: str | None = None,
    ) -> RoundTrained:
        """Train an adapter while the suppressed neurons are held at zero, and see which neurons learn."""
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
        no_control: bool = False,
        force: bool = False,
        anew: bool = False,
        as_: str = 'crab',
        rounds: int = 4,
        inventory: str | None = None,
        tier: str | None = None,
        region: str | None = None,
    ) -> RoundsShown:
        """Train, see which neurons learned, suppress them, and train again from the same model."""
    def rounds(
        self,
        *names: str,
        chart: str | Path | Sequence[str | dict[str, Any]] | None = None,
        answer: bool = False,
        max_tokens: int | None = None,
        force: bool = False,
    ) -> Compared | RoundsShown:
        """Show the trajectory of a series of rounds: what each suppressed, and what it still learned."""
    def recruits(
        self,
        name: str | None = None,
        *,
        top: int = 30,
        by: Literal["gradient", "largest", "last", "activation"] | None = None,
    ) -> RecruitsShown:
        """Show the neurons that absorbed most gradient in a round, and what each of them pushes."""
    def save(
        self,
        name: str,
        *,
        force: bool = False,
    ) -> Saved:
        """Save the circuit under a name, with everything needed to load it again."""
    def load(
        self,
        name: str | None = None,
        *,
        force: bool = False,
    ) -> Listed | Loaded:
        """Load a saved circuit and its prompt into the session."""
    def list(
        self,
    ) -> Listed:
        """List what is saved: circuits, vectors, presets, atlases, means and edits."""
    def delete(
        self,
        name: str,
        *,
        restore: bool = False,
    ) -> Deleted | Saved:
        """Delete a saved artifact, or restore the one last deleted under its name."""
    def export(
        self,
        path: str | Path | Sequence[str | dict[str, Any]],
        *,
        format: Literal["json", "reference", "csv", "safetensors", "gguf"] | None = None,
        name: str | None = None,
        model: bool = False,
        force: bool = False,
    ) -> Exported | ModelExported:
        """Write what is saved, or the model with its edits, to files for other programs."""
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
        """Read a circuit from a file into the session, or save a vector, an edit or a preset from one."""
    def fingerprint(
        self,
        *names: str,
        write: str | Path | Sequence[str | dict[str, Any]] | None = None,
        force: bool = False,
    ) -> Fingerprints:
        """Show the model's fingerprint, the sha256 of its current weights, and that of every saved file."""
    def verify_files(
        self,
        path: str | Path | Sequence[str | dict[str, Any]],
    ) -> FilesVerified:
        """Check files against a list of sha256; it fails where one is changed or missing."""
    def info(
        self,
    ) -> Info:
        """Show the model, prompt, circuit, settings, home folder and versions of the session."""
    def set(
        self,
        name: Literal["max_tokens", "sample", "temperature", "top_p", "top_k", "rng", "guard", "repetition_penalty", "no_repeat_ngram", "top", "rows", "attention"] | None = None,
        value: str | None = None,
    ) -> SettingsShown:
        """Show the settings, or change one. A flag on a command line overrides a setting once."""
    def run(
        self,
        path: str | Path | Sequence[str | dict[str, Any]] | None = None,
        *,
        list: bool = False,
        set: str | Sequence[str] | None = None,
        trust: bool = False,
    ) -> CommandFiles | Ran:
        """Run a command file in this session: one command a line, # comments, \\ continues a line."""
    def help(
        self,
        *name: str,
    ) -> Help:
        """List the verbs, or explain one."""
    def clear(
        self,
    ) -> Cleared:
        """Clear the screen. Session and journal stay as they are."""
    def quit(
        self,
    ) -> Quit:
        """Leave the workbench; what was saved stays."""
    def undo(
        self,
        count: int = 1,
    ) -> EditsShown:
        """Undo what the last lines changed; redo brings it back."""
    def redo(
        self,
        count: int = 1,
    ) -> EditsShown:
        """Redo what undo took back last. After a line that changes something there is nothing to redo."""
    def expect(
        self,
        subject: str,
        *words: str | float | Neuron | Sequence[Neuron],
    ) -> Expected:
        """Check a statement about the session; a command file stops where one is false."""
    def preset(self, action: Literal["save", "apply", "list"] = ..., *words: Any, **options: Any) -> Listed | PresetShown | Saved:
        """preset ACTION: save, apply, list."""
    def edits(self, action: Literal["list", "on", "off", "load", "compare"] = ..., *words: Any, **options: Any) -> Compared | EditsShown:
        """edits ACTION: list, on, off, load, compare."""
    def adapter(self, action: Literal["list", "load", "on", "off", "merge", "unmerge", "save", "delete"] = ..., *words: Any, **options: Any) -> AdapterShown | AdaptersListed | Deleted:
        """adapter ACTION: list, load, on, off, merge, unmerge, save, delete."""
    def atlas(self, action: Literal["build", "show", "top", "list"] = ..., *words: Any, **options: Any) -> AtlasBuilt | AtlasShown | AtlasTop | Listed:
        """atlas ACTION: build, show, top, list."""
    def means(self, action: Literal["build", "show", "list"] = ..., *words: Any, **options: Any) -> Listed | MeansBuilt | MeansShown:
        """means ACTION: build, show, list."""
    def sae(self, action: Literal["load", "encode", "inject"] = ..., *words: Any, **options: Any) -> AutoencoderOpened | Compared | StateEncoded:
        """sae ACTION: load, encode, inject."""
    def surgery(self, action: Literal["cut", "problems"] = ..., *words: Any, **options: Any) -> ProblemsWritten | SubspaceCut:
        """surgery ACTION: cut, problems."""
