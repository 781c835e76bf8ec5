"""Subspaces cut out of the weights, `surgery cut`, and the parallel problems that they are found with, `surgery
problems`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import structs

from commands.choices import OneOf
from commands.edits import FAMILY
from commands.fields import MaxTokens
from commands.names import FileName, Name, OutputFile, SavedName
from commands.ranges import Layers
from commands.request import Arg, Excludes, Flag, Opt, Options, Request
from commands.verb import verb
from commands.words import SEEDS, Whole, Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.files.disk import read_file
from sessions.interventions.arms import Arm
from sessions.last_output import LastOutput
from sessions.procedures.circuits import range_of
from sessions.procedures.edits import check_new
from sessions.procedures.generating import silent_reply
from sessions.procedures.surgery import problems_written, subspace_cut
from sessions.results import ProblemsWritten, SubspaceCut
from sessions.session import Session
from sessions.surgery.cuts import LayerCut
from sessions.surgery.problem_texts import LANGUAGES
from sessions.surgery.problems import built_in
from sessions.texts.parallel import read_parallel

if TYPE_CHECKING:
    from sessions.surgery.sources import SubspaceSource

POOLED = OneOf("state", {"mean": "over the tokens from where the versions part", "last": "at the last token"})
#: Problems that versions are taken of where no file is named.
_BUILT_IN = 10
#: What is said where two subspaces are named, where an option is for another one, and what to type instead.
_TWO = ("{one} and {other} are two subspaces", "cut them one after the other: edits add up")
_LEAVE = "leave it out, or leave {one} out"


class TokenTexts(Word):
    """Tokens with commas between them, every other character as it is: `" a, b"`."""

    name = "token"
    shape = "TOKEN,…"

    def read(self, text: str) -> tuple[str, ...]:
        parts = tuple(text.split(","))
        if not all(parts):
            raise UsageError(f"'{text}' has an empty token in it", 'tokens with commas between them: " cat, dog"')
        twice = next((part for part in parts if parts.count(part) > 1), None)
        if twice is not None:
            raise UsageError(f"the token '{twice}' is there twice", "leave one out")
        return parts


class Languages(Word):
    """Languages of the problems, with commas between them, or all."""

    name = "languages"
    shape = "LANGUAGE,…|all"

    def read(self, text: str) -> tuple[str, ...]:
        parts = LANGUAGES if text == "all" else tuple(dict.fromkeys(text.split(",")))
        unknown = next((part for part in parts if part not in LANGUAGES), None)
        if unknown is not None:
            raise UsageError(f"unknown language '{unknown}'", f"some of: {','.join(LANGUAGES)}, or all")
        return parts

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("all", "a task in each language"), *((language, "in this one") for language in LANGUAGES)]


class SubspaceOptions(Options, frozen=True):
    """The subspace that is cut."""

    group = "The subspace"

    parallel: Annotated[
        Path | None, Opt(FileName(".jsonl"), "prompts in versions (default: built-in problems in 7 languages)")
    ] = None
    dims: Annotated[int | None, Opt(Whole(), "dimensions of the subspace, for versions (default: 10)")] = None
    at: Annotated[Literal["mean", "last"] | None, Opt(POOLED, "state of each version: mean (the default) or last")] = (
        None
    )
    raw: Annotated[bool, Flag("read the versions without the chat template")] = False
    count: Annotated[int | None, Opt(Whole(), f"how many built-in problems (default: {_BUILT_IN})")] = None
    seed: Annotated[int | None, Opt(Whole(0, SEEDS), "random seed for these (default: 0)")] = None
    vector: Annotated[str | None, Opt(SavedName("vector"), "the direction of a saved vector instead")] = None
    tokens: Annotated[
        tuple[str, ...] | None, Opt(TokenTexts(), 'the directions that raise these tokens instead: " cat, dog"')
    ] = None

    def source(self, session: Session, layers: range, *, force: bool) -> Steps[SubspaceSource]:
        """The subspace at these layers, and what it was found on."""
        from sessions.surgery.sources import by_tokens, by_vector, by_versions

        opened = session.opened()
        if self.vector is not None:
            return by_vector(opened, session.saved.read_vector(self.vector, force=force)[0], self.vector, layers)
        if self.tokens is not None:
            return by_tokens(opened, self.tokens, layers)
        if self.parallel is None:
            parallel = built_in(self.count or _BUILT_IN, self.seed or 0)
        else:
            parallel = read_parallel(read_file(self.parallel.absolute()), str(self.parallel))
        steps = by_versions(
            opened,
            parallel,
            layers,
            dims=self.dims,
            at=self.at or "mean",
            chat=not self.raw,
            cancel=session.cancel,
        )
        return (yield from steps)


@verb(
    "surgery cut",
    family=FAMILY,
    synonyms=("project out", "orthogonalize", "orthogonalise", "abliterate", "erase", "subspace"),
    needs=("model",),
    example=(
        "surgery cut --layers 9-16 --dims 4 --count 2",
        'surgery cut --layers 20-26 --tokens " cat, dog" --attention',
        "surgery cut --layers 12 --parallel versions.jsonl --at last --as style",
    ),
    default=True,
)
class CutSubspace(Request, frozen=True, kw_only=True):
    """Cut a subspace out of what chosen layers write to the residual stream: an edit of their weights.

    The subspace is what differs most between versions of the same prompts, layer by layer. --parallel names a file
    with one prompt a line, {"en": "…", "zh": "…"}, under keys of your own; answer and kind may be given as well.
    Without a file the prompts are built-in problems in seven languages. The state of the first position, the
    attention sink, is left out of the subspace: a model that loses it falls apart. --vector cuts the direction of a
    vector instead, and --tokens the directions that raise some tokens.

    The result gives for each layer the share of the differences that is cut, how much the weights change, and how
    far the versions lie apart before and after, relative to other prompts. undo restores the exact bits.
    """

    layers: Annotated[tuple[int, int], Opt(Layers(), "the layers whose writes are cut: 9-26")]
    subspace: SubspaceOptions = SubspaceOptions()
    keep: Annotated[bool, Flag("keep nothing but the subspace, instead of removing it")] = False
    attention: Annotated[bool, Flag("cut what attention writes too")] = False
    max_tokens: MaxTokens = None
    name: Annotated[str | None, Opt(Name(), "the name of the edit (default: surgery-1, surgery-2, …)", flag="--as")] = (
        None
    )
    force: Annotated[bool, Flag("replace an edit of that name; use a vector of another model")] = False

    rules = (
        Excludes("parallel", ("vector", "tokens"), *_TWO),
        Excludes("vector", ("tokens",), *_TWO),
        *(
            Excludes(source, ("count", "seed"), "{other} is for the built-in problems", _LEAVE)
            for source in ("parallel", "vector", "tokens")
        ),
        *(
            Excludes(source, ("dims", "at", "raw"), "{other} is for versions of prompts", _LEAVE)
            for source in ("vector", "tokens")
        ),
    )

    def run(self, session: Session) -> Steps[SubspaceCut]:
        from sessions.surgery.cutting_out import change_of, check_writers, projections

        opened = session.opened()
        anatomy, layers = opened.anatomy, range_of(session, self.layers)
        assert layers is not None
        check_new(session, self.name or "", self.force)
        check_writers(anatomy, layers, self.attention)
        source = yield from self.subspace.source(session, layers, force=self.force)
        cuts = projections(anatomy, source.subspaces, attention=self.attention, keeps=self.keep)
        changes = {(cut.layer, cut.writer): change_of(anatomy, cut) for cut in cuts}
        edit = source.edit(cuts, keeps=self.keep)
        before = yield from silent_reply(session, "without", self.max_tokens)
        with edit.applied(opened):  # a trial, of which nothing is left whatever happens
            apart = yield from source.apart(opened, cancel=session.cancel)
            after = yield from silent_reply(session, "with", self.max_tokens)
        line = structs.replace(self, max_tokens=None, force=False).line()
        saved = session.take_edit(edit, self.name or "", line, force=self.force)
        arms: tuple[Arm, ...] = ()
        if before is not None and after is not None:
            arms = (before[0], after[0])
            session.last_output = LastOutput(text=after[0].text, logits=after[1])
        rows = tuple(
            LayerCut(
                layer=layer,
                dims=len(subspace.basis),
                captured=subspace.captured,
                differing=subspace.differing,
                down=changes[layer, "down"],
                attention=changes.get((layer, "attn_out")),
                apart=apart.get(layer),
            )
            for layer, subspace in source.subspaces.items()
        )
        return subspace_cut(session, source, saved.name, rows, arms, keeps=self.keep, attention=self.attention)


@verb(
    "surgery problems",
    family=FAMILY,
    synonyms=("problems", "multilingual", "languages"),
    example=("surgery problems parallel.jsonl --count 100", "surgery problems tasks.jsonl --tasks en,zh --seed 5"),
)
class WriteProblems(Request, frozen=True):
    """Write problems in seven languages to a file, with their answers.

    The kinds are arithmetic, combinatorics, modular, geometry and sequence. surgery cut --parallel FILE finds a
    subspace with them. With --tasks the file has tasks for evaluate instead, one for each language that is named.
    """

    file: Annotated[Path, Arg(OutputFile(".jsonl"), "the file to write")]
    count: Annotated[int, Opt(Whole(), "how many problems")] = 100
    seed: Annotated[int, Opt(Whole(0, SEEDS), "random seed")] = 0
    tasks: Annotated[
        tuple[str, ...] | None,
        Opt(Languages(), "write problems as tasks for evaluate, one in each of these languages"),
    ] = None
    force: Annotated[bool, Flag("replace that file")] = False

    def run(self, session: Session) -> ProblemsWritten:
        return problems_written(
            session, file=self.file, count=self.count, seed=self.seed, tasks=self.tasks, force=self.force
        )
