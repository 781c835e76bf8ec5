"""Subspaces cut out of the weights: `surgery`, and the parallel problems that it finds them with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from commands.choices import OneOf
from commands.circuits import range_of
from commands.names import FileName, Name, SavedName
from commands.prompting import decoded
from commands.ranges import Layers
from commands.verb import argument, option, verb
from commands.words import SEEDS, Length, Whole, Word
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import read_file, write_file
from sessions.interventions.arms import Arm, Condition
from sessions.lines import line_of, with_options
from sessions.model.info import Prompt
from sessions.results import ProblemsWritten, SubspaceCut
from sessions.session import Reading, Session
from sessions.surgery.cuts import LayerCut
from sessions.surgery.problem_texts import LANGUAGES
from sessions.surgery.problems import built_in, problems
from sessions.texts.parallel import Parallel, read_parallel, written

if TYPE_CHECKING:
    from torch import Tensor

    from sessions.edits.edit import Edit
    from sessions.surgery.subspaces import Pooled, States, Subspace, Versions

FAMILY = "Edits"

ACTIONS = OneOf("action", {"problems": "write parallel problems in seven languages to a file"})
POOLED = OneOf("state", {"mean": "over the tokens from where the versions part", "last": "at the last token"})
#: Problems that versions are taken of where no file is named, and that are written unless it is said how many.
_BUILT_IN, _WRITTEN = 10, 100


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
            raise UsageError(f"'{unknown}' is no language of the problems", f"some of: {','.join(LANGUAGES)}, or all")
        return parts

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("all", "a task in each language"), *((language, "in this one") for language in LANGUAGES)]


@verb("surgery", family=FAMILY, example="surgery --layers 9-16 --dims 4 --count 2")
@argument("action", help="problems FILE writes problems; nothing cuts", type=ACTIONS, required=False)
@argument("file", help="of problems: the file to write", type=FileName(".jsonl"), required=False)
@option("--layers", type=Layers(), help="the layers whose writes are cut: 9-26")
@option("--dims", type=Whole(), help="how many of the directions in which versions differ (default: 10)")
@option("--parallel", type=FileName(".jsonl"), help="prompts in versions (default: built-in problems in 7 languages)")
@option("--vector", "vector", type=SavedName("vector"), help="the direction of a saved vector instead")
@option("--tokens", type=TokenTexts(), help='what raises these tokens instead: " cat, dog"')
@option("--keep", is_flag=True, help="keep nothing but the subspace, instead of removing it")
@option("--attention", is_flag=True, help="cut what the attention writes as well")
@option("--at", type=POOLED, help="which state of each version: mean (the default) or last")
@option("--raw", is_flag=True, help="read the versions without the chat template")
@option("--count", type=Whole(), help=f"how many problems: {_WRITTEN} in a file, {_BUILT_IN} built-in ones")
@option("--seed", type=Whole(0, SEEDS), help="what they are drawn with (default: 0)")
@option("--tasks", type=Languages(), help="write problems as tasks for evaluate, one in each of these languages")
@option(
    "--max-tokens",
    type=Length(),
    help="tokens of the reply before and after (default: the setting max_tokens)",
)
@option("--as", "name", type=Name(), help="the name of the edit (default: surgery-1, surgery-2, …)")
@option("--force", is_flag=True, help="replace what has that name; use a vector of another model")
def surgery(
    session: Session,
    action: str | None,
    file: Path | None,
    layers: tuple[int, int] | None,
    dims: int | None,
    parallel: Path | None,
    vector: str | None,
    tokens: tuple[str, ...] | None,
    keep: bool,
    attention: bool,
    at: Pooled | None,
    raw: bool,
    count: int | None,
    seed: int | None,
    tasks: tuple[str, ...] | None,
    max_tokens: int | None,
    name: str | None,
    force: bool,
) -> Steps[SubspaceCut | ProblemsWritten]:
    """Cut a subspace out of what chosen layers write to the residual stream: an edit of their weights.

    The subspace is what differs most between versions of the same prompts, layer by layer: a JSONL file, a prompt a
    line, {"en": "…", "zh": "…"}, the keys of your own; answer and kind may stand beside them. Without a file they are
    built-in problems in seven languages. What the first position of a text holds, where attention rests, is no part of
    it: a model that loses that falls apart. Or it is the direction of a vector, or what raises some tokens.

    surgery problems FILE writes such problems (arithmetic, combinatorics, modular, geometry, sequence) with answers.

    Told of each layer: the share of the differences that is cut, by how much the weights change, and how far the
    versions lie apart before and after, relative to other prompts. undo takes the edit back to the exact bits.
    """
    if action is not None:
        given = {"--layers": layers, "--dims": dims, "--parallel": parallel, "--vector": vector, "--tokens": tokens,
                 "--keep": keep or None, "--attention": attention or None, "--at": at, "--raw": raw or None,
                 "--max-tokens": max_tokens, "--as": name}  # fmt: skip
        _refuse(given, "says nothing to surgery problems", "it takes FILE, --count, --seed, --tasks and --force")
        return _problems(file, _WRITTEN if count is None else count, seed or 0, tasks, force)
    _refuse({"--tasks": tasks}, "is for writing problems", "for example: surgery problems tasks.jsonl --tasks en")
    asked = _Asked(layers, dims, parallel, vector, tokens, keep, attention, at, raw, count, seed)
    return (yield from _operated(session, asked, max_tokens, name or "", force))


@dataclass(frozen=True)
class _Asked:
    """What is to be cut, as the line says it."""

    layers: tuple[int, int] | None
    dims: int | None
    parallel: Path | None
    vector: str | None
    tokens: tuple[str, ...] | None
    keeps: bool
    attention: bool
    at: Pooled | None
    raw: bool
    count: int | None
    seed: int | None

    def check(self) -> None:
        """Raise `UsageError` where one part of the line has no use for another."""
        sources = {"--parallel": self.parallel, "--vector": self.vector, "--tokens": self.tokens}
        named = [flag for flag, value in sources.items() if value is not None]
        if len(named) > 1:
            raise UsageError(f"{named[0]} and {named[1]} are two subspaces", "one at a time: edits lie on each other")
        drawn = {"--count": self.count, "--seed": self.seed}
        if named:
            _refuse(drawn, "is for problems, and the subspace is another", f"leave it out, or leave {named[0]} out")
        if named and named[0] != "--parallel":
            of_versions = {"--dims": self.dims, "--at": self.at, "--raw": self.raw or None}
            _refuse(of_versions, "is for versions of prompts", f"leave it out, or leave {named[0]} out")
        if self.layers is None:
            raise UsageError("--layers is missing", "the layers whose writes are cut: --layers 9-26")

    @property
    def command(self) -> str:
        """The line, but for the name it is saved under."""
        assert self.layers is not None
        given = {"--dims": self.dims, "--parallel": self.parallel, "--vector": self.vector,
                 "--tokens": None if self.tokens is None else ",".join(self.tokens), "--at": self.at,
                 "--count": self.count, "--seed": self.seed}  # fmt: skip
        flags = {"--keep": self.keeps, "--attention": self.attention, "--raw": self.raw}
        return line_of(["surgery"], {"--layers": f"{self.layers[0]}-{self.layers[1]}", **given, **flags})


@dataclass(frozen=True, eq=False)
class _Found:
    """The subspace of each layer, what it is, in words, and the prompts it was found on, with their states."""

    what: str
    subspaces: dict[int, Subspace]
    parallel: Parallel | None = None
    versions: Versions = ()
    before: Mapping[int, States] | None = None


def _refuse(given: Mapping[str, object], why: str, hint: str) -> None:
    for flag, value in given.items():
        if value is not None:
            raise UsageError(f"{flag} {why}", hint)


def _problems(file: Path | None, count: int, seed: int, tasks: tuple[str, ...] | None, force: bool) -> ProblemsWritten:
    if file is None:
        raise UsageError("surgery problems needs a file", "for example: surgery problems parallel.jsonl --count 100")
    made = problems(count, seed)
    if tasks is None:
        lines = [problem.as_line() for problem in made]
    else:
        numbered = enumerate(made, 1)
        lines = [problem.as_task(language, number) for number, problem in numbered for language in tasks]
    path = write_file(file.absolute(), written(lines), force=force, what=f"'{file}'")
    kinds = [problem.kind for problem in made]
    return ProblemsWritten(
        path=str(path),
        seed=seed,
        languages=LANGUAGES if tasks is None else tasks,
        tasks=tasks is not None,
        lines=len(lines),
        kinds={kind: kinds.count(kind) for kind in dict.fromkeys(kinds)},
        first=dict(made[0].texts),
        answer=str(made[0].answer),
    )


def _operated(session: Session, asked: _Asked, max_tokens: int | None, name: str, force: bool) -> Steps[SubspaceCut]:
    from sessions.surgery.cutting_out import change_of, check_writers, projections, writers

    asked.check()
    from sessions.edits.commuting import beside

    opened = session.opened()
    chosen = range_of(session, asked.layers)
    assert chosen is not None
    _check_name(session, name, force)
    check_writers(opened.anatomy, chosen, asked.attention)
    found = yield from _subspaces(session, asked, chosen, force)
    cuts = projections(opened.anatomy, found.subspaces, attention=asked.attention, keeps=asked.keeps)
    changes = {(cut.layer, cut.writer): change_of(opened.anatomy, cut) for cut in cuts}
    edit = _edit(asked, found, cuts)
    before = yield from _reply(session, "without", max_tokens)
    with edit.applied(opened):  # a trial, of which nothing is left whatever happens
        apart = yield from _apart(session, asked, found, chosen)
        after = yield from _reply(session, "with", max_tokens)
    saved = session.take_edit(edit, name, with_options(asked.command, {"--as": name or None}), force=force)
    if after is not None:
        session.reading = Reading(text=after[0].text, logits=after[1])
    rows = (
        LayerCut(
            layer=layer,
            dims=len(subspace.basis),
            captured=subspace.captured,
            differing=subspace.differing,
            down=changes[layer, "down"],
            attention=changes.get((layer, "attn_out")),
            apart=apart.get(layer),
        )
        for layer, subspace in found.subspaces.items()
    )
    return SubspaceCut(
        name=saved.name,
        what=found.what,
        keeps=asked.keeps,
        writers=writers(asked.attention),
        at=(asked.at or "mean") if found.parallel is not None else "",
        versions=() if found.parallel is None else found.parallel.versions,
        prompts=len(found.versions),
        layers=tuple(rows),
        arms=() if before is None or after is None else (before[0], after[0]),
        path=str(session.store.path("edit", saved.name)),
        notes=(*_notes(session, asked, chosen), *beside(opened, session.edits(), saved)),
    )


def _check_name(session: Session, name: str, force: bool) -> None:
    """Refuse a name that is taken, before anything is computed."""
    session.edits().check_new(name)
    if name and not force and name in session.store.names("edit"):
        raise ArtifactError(f"edit '{name}' exists already", "replace it with --force, or choose another name")


def _subspaces(session: Session, asked: _Asked, layers: Sequence[int], force: bool) -> Steps[_Found]:
    from sessions.surgery import subspaces

    opened = session.opened()
    if asked.vector is not None:
        vector, _ = session.saved.read_vector(asked.vector, force=force)
        vector.check(opened.anatomy)
        return _Found(f"vector {asked.vector}", subspaces.of_vector(vector, layers))
    if asked.tokens is not None:
        shared = subspaces.of_tokens(opened, [_one_token(session, text) for text in asked.tokens])
        said = ", ".join(map(repr, asked.tokens))
        return _Found(f"what raises {said}", dict.fromkeys(layers, shared))
    parallel = _parallel(asked)
    versions = _read(session, parallel, asked.raw)
    before = yield from subspaces.states_of(opened, versions, layers, asked.at or "mean", cancel=session.cancel)
    found = {layer: subspaces.of_versions(before[layer], asked.dims, layer) for layer in layers}
    what = f"what differs between {len(parallel.versions)} versions of {len(versions)} prompts of {parallel.source}"
    return _Found(what, found, parallel, versions, before)


def _parallel(asked: _Asked) -> Parallel:
    if asked.parallel is None:
        return built_in(asked.count or _BUILT_IN, asked.seed or 0)
    return read_parallel(read_file(asked.parallel.absolute()), str(asked.parallel))


def _read(session: Session, parallel: Parallel, raw: bool) -> list[list[tuple[int, ...]]]:
    """The ids of every version of every prompt; an error names the line and the version."""
    found = []
    for line in parallel.lines:
        rows = []
        for version, text in zip(parallel.versions, line.texts, strict=True):
            try:
                rows.append(session.read(Prompt(text=text, chat=not raw)).ids)
            except UsageError as error:
                where = f"{parallel.source}, line {line.number}, '{version}'"
                raise UsageError(f"{where}: {error.message}", error.hint) from error
        found.append(rows)
    return found


def _one_token(session: Session, text: str) -> int:
    from sessions.model.tokens import ids_behind, token_text

    tokenizer = session.opened().tokenizer
    ids = ids_behind(tokenizer, text)
    if len(ids) != 1:
        pieces = " ".join(repr(token_text(tokenizer, each)) for each in ids)
        raise UsageError(
            f"{text!r} is {len(ids)} tokens: {pieces}",
            "name single tokens, with their leading space where they have one",
        )
    return int(ids[0])


def _edit(asked: _Asked, found: _Found, cuts: Sequence[object]) -> Edit:
    from sessions.edits.edit import Edit

    assert asked.layers is not None
    first, last = asked.layers
    where = f"L{first}" if first == last else f"L{first}-{last}"
    most = max(len(each.basis) for each in found.subspaces.values())
    done = "nothing kept but" if asked.keeps else "cut"
    facts = {"layers": f"{first}-{last}", "subspace": found.what, "dims": str(most)}
    if found.parallel is not None:
        facts |= {"versions": " ".join(found.parallel.versions), "at": asked.at or "mean"}
    about = f"{where}: {done} {most} {'dim' if most == 1 else 'dims'} of {found.what}"
    return Edit("surgery", about, tuple(cuts), facts=facts)  # type: ignore[arg-type]


def _apart(
    session: Session, asked: _Asked, found: _Found, layers: Sequence[int]
) -> Steps[dict[int, tuple[float, float]]]:
    """How far the versions are from each other without and, now, with the edit."""
    from sessions.surgery.subspaces import apart, states_of

    if found.before is None:
        return {}
    now = yield from states_of(
        session.opened(), found.versions, layers, asked.at or "mean", label="reading them again", cancel=session.cancel
    )
    pairs = {layer: (apart(found.before[layer].pooled), apart(now[layer].pooled)) for layer in layers}
    return {layer: (was, is_now) for layer, (was, is_now) in pairs.items() if was is not None and is_now is not None}


def _reply(session: Session, name: str, max_tokens: int | None) -> Steps[tuple[Arm, Tensor] | None]:
    """What the model says to the session's prompt as its weights are now; None without a prompt."""
    from sessions.interventions.answering import compare

    if session.prompt is None:
        return None
    decoding = decoded(session, max_tokens=max_tokens)
    (arm,), logits = yield from compare(
        session.opened(),
        session.encoded(),
        [Condition(name, session.in_force)],
        decoding,
        streamed=False,
        cancel=session.cancel,
    )
    return arm, logits[0]


def _notes(session: Session, asked: _Asked, layers: Sequence[int]) -> list[str]:
    from sessions.model.places import norm_behind
    from sessions.surgery.cutting_out import has_bias, writers

    anatomy = session.opened().anatomy
    cut = [(layer, writer) for layer in layers for writer in writers(asked.attention)]
    notes = []
    if session.prompt is None:
        notes.append("no prompt is set, so no reply is compared")
    if any(norm_behind(anatomy, *each) is not None for each in cut):
        notes.append(
            "a norm stands between these writers and the residual stream: the subspace is taken out before it, turned "
            "by its weights, so that none of it is written behind it; what is left has the size that the norm gives it"
        )
    if any(has_bias(anatomy, *each) for each in cut):
        notes.append("these writers add a bias as well, a constant, which is none of their weights and stays")
    return notes
