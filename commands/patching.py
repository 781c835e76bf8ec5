"""Activations moved between a clean and a corrupt run: `patch`, `trace`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from commands.capturing import FAMILY
from commands.choices import DIRECTION, PATCHED, TRACED
from commands.fields import Batch
from commands.names import FileName
from commands.ranges import Layers, Positions
from commands.request import Arg, Excludes, Flag, Needs, Opt, Request
from commands.verb import verb
from commands.words import SEEDS, ObservedWord, Real, RowsWord, TextWord, TokenWord, Whole
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.patching import Given, PatchScope, own_pair, pairs_in, patched
from sessions.procedures.tracing import Noise, traced
from sessions.results import CausalTrace, Patched
from sessions.session import Session

_PAIRS = 'for example: patch --corrupt "The key to the cabinet", or patch --prompts pairs.jsonl'


@verb(
    "patch",
    family=FAMILY,
    synonyms=(
        "patching",
        "activation patching",
        "denoising",
        "noising",
        "interchange",
        "counterfactual patching",
        "resample ablation",
        "path patching",
    ),
    needs=("model", "prompt"),
    example=(
        'patch --corrupt "What is the capital of Italy?"',
        "patch --prompts pairs.jsonl --site attn_out",
        "patch --prompts pairs.jsonl --units top20 --direction noise",
        'patch --corrupt "What is the capital of Italy?" --from L5/H3,L7/H1 --to L9/H6.q',
    ),
)
class PatchActivations(Request, frozen=True, kw_only=True):
    """Move activations between a clean and a corrupt prompt, and see where the target follows.

    The two prompts have as many tokens, and the target's logit minus the counterfactual's differs in them. One of them
    runs; each cell of a map of layers and positions replaces one of its activations by the other's. The value is the
    fraction of the way, (patched − base) / (other − base): 0 nothing, 1 everything. With --direction denoise, the
    default, clean activations go into the corrupt prompt and restore the target; with noise, corrupt ones go into the
    clean prompt and destroy it. Every value is exact, and cheap: layers below and tokens before the cell do not run.

    Without --prompts, the session's prompt is the clean one, and --corrupt the other. --prompts reads a file with
    lines such as {"prompt": "The keys", "corrupt": "The key", "target": " are", "counterfactual": " is"}. A value is
    then over all pairs, with a 95% bootstrap interval; positions count from the end if the lengths differ.

    --from and --to patch single paths: what the sender adds reaches the receiver through the residual stream alone,
    while everything else above the sender is frozen at the prompt that runs (Wang et al. 2022).
    """

    target: Annotated[str | None, Arg(TokenWord(), "the next token (default: the likeliest in the clean prompt)")] = (
        None
    )
    corrupt: Annotated[str | None, Opt(TextWord(), "the corrupt prompt; the session's prompt is the clean one")] = None
    prompts: Annotated[Path | None, Opt(FileName(".jsonl"), "a file of pairs, each with its own target")] = None
    raw: Annotated[bool, Flag("with --prompts: read them without the chat template")] = False
    vs: Annotated[
        str | None, Opt(TokenWord(), "the counterfactual (default: the likeliest token in the corrupt prompt)")
    ] = None
    site: Annotated[
        Literal["resid_pre", "mlp_out", "attn_out", "heads", "neurons"] | None,
        Opt(PATCHED, "what is replaced (default: resid_pre, or the --units)"),
    ] = None
    direction: Annotated[Literal["denoise", "noise"], Opt(DIRECTION, "which prompt runs")] = "denoise"
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "only these layers: 9-26")] = None
    at: Annotated[
        tuple[int, int] | None,
        Opt(Positions(), "only these positions: 3-9, or -1 (default: all from where the prompts begin to differ)"),
    ] = None
    units: Annotated[
        str | None, Opt(ObservedWord(), "instead of a map: these neurons and heads, each alone, and all together")
    ] = None
    senders: Annotated[
        str | None,
        Opt(ObservedWord(), "path patching: from these neurons and heads, each alone, to one receiver", flag="--from"),
    ] = None
    to: Annotated[
        str | None,
        Opt(TextWord(), "with --from: logits, a head L9/H6, its input L9/H6.q (.k, .v), or a neuron"),
    ] = None
    rows: Annotated[int, Opt(RowsWord(), "cells to list, the strongest (default: 10)")] = 10
    batch: Batch = None

    rules = (
        Needs(("to",), "senders", "--to needs --from", "for example: patch --corrupt TEXT --from L5/H3 --to L9/H6.q"),
        Needs(("senders",), "to", "--from needs --to", "for example: patch --corrupt TEXT --from L5/H3 --to logits"),
        Excludes("senders", ("site", "units"), "{one} does not go with {other}: what it names is what is patched"),
        Excludes("prompts", ("corrupt",), "{one} and {other} exclude each other", _PAIRS),
        Excludes(
            "prompts",
            ("target", "vs"),
            "{other} does not go with --prompts: each pair has its own",
            'say it in the file: {{"prompt": "The keys", "corrupt": "The key", "target": " are"}}',
        ),
        Needs(("raw",), "prompts", "--raw is for a file of pairs", "the session's prompt is read as it was set"),
    )

    def run(self, session: Session) -> Steps[Patched]:
        if self.prompts is not None:
            cases, notes = yield from pairs_in(session, self.prompts, self.raw, self.batch)
            given: Given = (("--prompts", str(self.prompts)), ("--raw", self.raw))
        elif self.corrupt is not None:
            cases, notes = yield from own_pair(session, self.corrupt, self.target, self.vs)
            given = (("--corrupt", self.corrupt),)
        else:
            raise UsageError("patch needs a corrupt prompt, or a file of pairs", _PAIRS)
        units = self.units if self.senders is None else self.senders
        site = self.site or ("resid_pre" if units is None else "units")
        scope = PatchScope(site, self.direction, self.layers, self.at, units, self.rows, self.batch, self.to)
        return (yield from patched(session, cases, scope, given, notes))


@verb(
    "trace",
    family=FAMILY,
    synonyms=("causal tracing", "causal trace", "causal mediation", "rome"),
    needs=("model", "prompt"),
    example=("trace --subject Texas --nth 2", 'trace " Austin" --subject Texas --nth 2 --site mlp_out --window 10'),
)
class TraceCausally(Request, frozen=True, kw_only=True):
    """Put noise on a subject, restore states, and see where the model recalls the target.

    Causal tracing as in Meng et al. (2022): the embeddings of the subject's tokens get Gaussian noise, so the target is
    lost. In each cell of a map of layers and positions clean states are put back, and its value is the probability of
    the target then, a mean over several draws of the noise. What one MLP or attention adds is little, so with --site
    mlp_out and attn_out a cell restores a window of layers around its own.
    """

    target: Annotated[str | None, Arg(TokenWord(), "the next token to trace (default: the likeliest one)")] = None
    subject: Annotated[str, Opt(TextWord(), "the words that get noise: a part of the prompt, or a position")]
    nth: Annotated[int | None, Opt(Whole(), "which occurrence, where the subject occurs several times")] = None
    noise: Annotated[float, Opt(Real(1000.0), "its standard deviation, in those of the token embeddings")] = 3.0
    seeds: Annotated[int, Opt(Whole(1, 1000), "how often noise is drawn")] = 10
    seed: Annotated[int | None, Opt(Whole(0, SEEDS), "random seed of the first (default: the setting rng)")] = None
    site: Annotated[Literal["resid_post", "mlp_out", "attn_out"], Opt(TRACED, "what is restored")] = "resid_post"
    window: Annotated[
        int | None, Opt(Whole(), "layers that a cell restores (default: 10 of mlp_out and attn_out, 1 of resid_post)")
    ] = None
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "only these layers: 9-26")] = None
    at: Annotated[
        tuple[int, int] | None, Opt(Positions(), "only these positions: 3-9, or -1 (default: all from the subject on)")
    ] = None
    rows: Annotated[int, Opt(RowsWord(), "cells to list, the strongest (default: 10)")] = 10
    batch: Batch = None

    def run(self, session: Session) -> Steps[CausalTrace]:
        scope = PatchScope(self.site, "denoise", self.layers, self.at, None, self.rows, self.batch)
        noise = Noise(self.subject, self.nth, self.noise, self.seeds, self.seed)
        return (yield from traced(session, noise, scope, self.target, self.window))
