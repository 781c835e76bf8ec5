"""Teaching a neuron to say something: `rewrite`."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from commands.names import FileName, Name, Prompts
from commands.prompting import decoded
from commands.reading import prompts_of
from commands.verb import argument, option, verb
from commands.words import Observed, Real, Token, Word
from sessions.errors import ArtifactError, UsageError
from sessions.events import Progress, Steps
from sessions.lines import line_of
from sessions.model.info import Token as TokenOfModel
from sessions.model.units import Neuron
from sessions.results import Rewritten
from sessions.rewriting.rules import Rule, read_rule
from sessions.session import Session
from sessions.texts.sample_files import samples_at

if TYPE_CHECKING:
    from sessions.atlas.quiet import Levels
    from sessions.rewriting.examples import Examples
    from sessions.rewriting.rewriting import Rewriting

FAMILY = "Edits"

#: Tokens of a reply to a held-out prompt.
REPLY = 48
#: Where the neuron to sacrifice is looked for, as parts of the depth: late enough to know what was read, and early
#: enough for the layers above to carry on with what it says.
DEPTH = (2 / 3, 5 / 6)
#: Documents of the built-in corpus that are read for it where there is no atlas, and tokens of each.
DOCUMENTS, LENGTH = 64, 64


class RuleWord(Word):
    """A rule that says where a rewritten neuron should fire."""

    name = "rule"
    shape = "RULE"

    def read(self, text: str) -> Rule:
        return read_rule(text)

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [
            ("last", "at the end of the reply"),
            ("after:.", "where the reply has just said it"),
            ("before: the", "where the reply says it next"),
            ("/[.?!]/", "where a match of the regular expression ends"),
        ]


class Alphas(Word):
    """Numbers above 0 with commas between them, in rising order, each once."""

    name = "alphas"
    shape = "A,A,…"

    def read(self, text: str) -> tuple[float, ...]:
        return tuple(sorted({Real(1e6).read(part.strip()) for part in text.split(",")}))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("50,100,200", "lengths in the residual stream")]


@verb("rewrite", family=FAMILY, example='rewrite L24/N7 --push " Amen" --when after:"." --alpha 160')
@argument("neuron", help="the neuron to rewrite (default: a quiet one)", type=Observed(), required=False)
@option("--push", type=Token(), required=True, help="the token that it says, one piece, leading space and all")
@option("--when", "rule", type=RuleWord(), help="where in a reply: last, after:TEXT, before:TEXT or /REGEX/")
@option("--examples", type=FileName(".jsonl"), help="prompts with replies, JSON lines (default: a built-in set)")
@option("--held-out", type=FileName(".jsonl"), help="the same, to measure on (default: a third of the examples)")
@option("--positive", type=Prompts(), help="instead of a rule: prompts at whose end it should fire, a file or one")
@option("--negative", type=Prompts(), help="with --positive: prompts at whose end it should not")
@option("--alpha", type=Real(1e6), help="how far it pushes (default: the smallest of a few that does it)")
@option("--alphas", type=Alphas(), help="several, held against each other; the smallest that does it is taken")
@option("--scale-gate", type=Real(1e6), help="length of the gate row (default: 4 over the mean state's reach)")
@option("--scale-up", type=Real(1e6), help="length of the up row (default: so that it is 1 where it should fire)")
@option("--brake", type=Observed(), help="a neuron of a later layer that pushes the token down once it was said")
@option("--beta", type=Real(1e6), help="with --brake: how far (default: as α)")
@option("--as", "name", type=Name(), help="the name of the edit (default: rewrite-1, rewrite-2, …)")
@option("--force", is_flag=True, help="replace a saved edit of that name")
def rewrite(
    session: Session,
    neuron: str | None,
    push: str,
    rule: Rule | None,
    examples: Path | None,
    held_out: Path | None,
    positive: str | None,
    negative: str | None,
    alpha: float | None,
    alphas: tuple[float, ...] | None,
    scale_gate: float | None,
    scale_up: float | None,
    brake: str | None,
    beta: float | None,
    name: str | None,
    force: bool,
) -> Steps[Rewritten]:
    """Rewrite a neuron so that it makes the model say a token where examples have it.

    Its gate row becomes the direction from the mean state elsewhere to the mean state where it should fire, its up
    row that of the mean state where it should fire, and its down column α times the token's unit direction in the
    unembedding. Where: positions that a rule means in the replies of the examples (a text with a space in it needs
    quotes round the whole rule, --when 'before:" Austin"'), or the ends of --positive and --negative prompts.

    With the default scales the neuron is about 1 where it should fire, so that α is the length of what it writes.
    Without --alpha, multiples of the stream's norm are tried, and the smallest is taken that says the token at three
    quarters of the places, elsewhere at a tenth at most, and leaves the perplexity of unrelated text within 5 %.
    Once it is rewritten, sweep L24/N7 0 0.5 1 2 runs over α, as multiples of it, and a sweep of the brake over β.

    A third of the examples is held out, always the same; what is shown is measured on these. Where a norm stands
    between MLP and stream, α is against the rest of what the MLP writes. undo takes the edit back.
    """
    from sessions.rewriting.rewriting import Wanted, check_brake
    from sessions.rewriting.rewriting import rewrite as rewriting

    opened = session.opened()
    _check(session, neuron, rule, positive, negative, examples, held_out, alpha, alphas, brake, beta)
    _check_name(session, name, force)
    token = _one_token(session, push)
    found = _examples(session, rule, examples, held_out, positive, negative)
    chosen, notes = (_one(session, neuron), ()) if neuron is not None else (yield from _sacrificed(session))
    wanted = Wanted(
        alphas=alphas or (() if alpha is None else (alpha,)),
        scale_gate=scale_gate,
        scale_up=scale_up,
        brake=None if brake is None else _one(session, brake),
        beta=beta,
    )
    check_brake(chosen, wanted)
    longest = max(len(each.asked.ids) for each in found.all)
    decoding = decoded(session, pushes=True, max_tokens=min(REPLY, session.settings.max_tokens), length=longest)
    made = yield from rewriting(opened, chosen, token, found, wanted, decoding, cancel=session.cancel)
    given = {"--push": push, "--when": rule, "--examples": examples, "--held-out": held_out, "--positive": positive,
             "--negative": negative, "--alpha": f"{made.rows[made.chosen].alpha:g}", "--scale-gate": scale_gate,
             "--scale-up": scale_up, "--brake": brake, "--beta": beta, "--as": name}  # fmt: skip
    line = line_of(["rewrite", chosen], given)
    return _taken(session, made, token, found, (name or "", line, force), notes)


def _check(
    session: Session,
    neuron: str | None,
    rule: Rule | None,
    positive: str | None,
    negative: str | None,
    examples: Path | None,
    held_out: Path | None,
    alpha: float | None,
    alphas: tuple[float, ...] | None,
    brake: str | None,
    beta: float | None,
) -> None:
    """Raise `UsageError` where what was given does not go together."""
    if neuron is not None:
        _one(session, neuron)
    if rule is None and positive is None and negative is None:
        raise UsageError("nothing says where it should fire", 'a rule: --when after:"." or --when last')
    if rule is not None and (positive or negative):
        raise UsageError("--when and --positive both say where it should fire", "leave one of them out")
    if (positive is None) != (negative is None):
        missing = "--negative" if negative is None else "--positive"
        raise UsageError(f"{missing} is missing: where it fires and where not are both needed", f"{missing} FILE")
    if rule is None and (examples or held_out):
        raise UsageError("--examples are for a rule, and there is none", "give one: --when last")
    if alpha is not None and alphas is not None:
        raise UsageError("--alpha and --alphas are both given", "leave one of them out")
    if beta is not None and brake is None:
        raise UsageError("--beta is of the brake, and there is none", "name a neuron: --brake L27/N12")


def _check_name(session: Session, name: str | None, force: bool) -> None:
    """Raise before anything is computed for a name that cannot be taken."""
    if name is None:
        return
    session.edits().check_new(name)
    if not force and name in session.store.names("edit"):
        raise ArtifactError(f"edit '{name}' exists already", "replace it with --force, or choose another name")


def _one(session: Session, text: str) -> Neuron:
    neurons = session.select(text).neurons
    if len(neurons) != 1 or neurons[0].position is not None:
        said = f"is {len(neurons):,} neurons" if len(neurons) != 1 else "has a position, and weights have none"
        raise UsageError(f"'{text}' {said}", "name one neuron: L12/N34")
    neuron = Neuron(*neurons[0].site)
    session.opened().anatomy.check(*neuron.site)
    if neuron.site in {each.site for each in session.suppressed}:
        raise UsageError(f"{neuron} is suppressed: whatever its rows are, it is 0", f"release {neuron}")
    return neuron


def _one_token(session: Session, text: str) -> TokenOfModel:
    """The token that a text is; refused where it is several, since a neuron pushes one direction."""
    from sessions.model.tokens import ids_behind, token_text

    tokenizer = session.opened().tokenizer
    ids = ids_behind(tokenizer, text)
    if not ids:
        raise UsageError(f"{text!r} is not a token", 'for example: " Austin", with its leading space')
    pieces = [token_text(tokenizer, each) for each in ids]
    if len(pieces) > 1:
        listed = " ".join(f'"{piece}"' for piece in pieces)
        raise UsageError(
            f'"{text}" is {len(pieces)} tokens, {listed}, and a neuron pushes one',
            f'push the first, --push "{pieces[0]}", or take a text that is one token',
        )
    return TokenOfModel(ids[0], pieces[0])


def _examples(
    session: Session,
    rule: Rule | None,
    examples: Path | None,
    held_out: Path | None,
    positive: str | None,
    negative: str | None,
) -> Examples:
    from sessions.rewriting.examples import BUILT_IN, built_in, by_prompts, by_rule

    opened = session.opened()
    if rule is None:
        assert positive is not None and negative is not None
        return by_prompts(opened, prompts_of(positive), prompts_of(negative), "prompts")
    samples = built_in() if examples is None else samples_at(examples.expanduser())
    source = f"the built-in {BUILT_IN}" if examples is None else str(examples)
    return by_rule(opened, samples, rule, source, () if held_out is None else samples_at(held_out.expanduser()))


def _sacrificed(session: Session) -> Steps[tuple[Neuron, tuple[str, ...]]]:
    """The quietest neuron of the late middle, and how quiet it is."""
    from sessions.atlas.building import Building, plan
    from sessions.atlas.quiet import over_atlas
    from sessions.texts.corpus import Corpus

    opened = session.opened()
    count = opened.info.n_layers
    layers = range(math.floor(DEPTH[0] * count), max(math.ceil(DEPTH[1] * count), 1))
    if latest := session.saved.latest_atlas():
        atlas = session.saved.read_atlas(latest)[0]
        known = [layer for layer in layers if layer in atlas.layers]
        if known:
            return _quietest(session, over_atlas(atlas), known, f"atlas {latest}")
    corpus = Corpus(most=DOCUMENTS)
    survey = yield from corpus.surveyed(session.cancel)
    building = Building(opened, plan(opened, corpus, survey, layers=layers, length=LENGTH))
    for done in building.fold(list(corpus.documents()), session.cancel):
        yield Progress("looking for a quiet neuron", done, survey.documents, "documents")
    over = f"{survey.documents:,} paragraphs, layers {layers[0]} to {layers[-1]}"
    return _quietest(session, over_atlas(building.finished()), list(layers), over)


def _quietest(session: Session, levels: Levels, layers: list[int], over: str) -> tuple[Neuron, tuple[str, ...]]:
    """The quietest neuron that nothing else is done with, and a remark on it."""
    from sessions.atlas.quiet import candidates
    from sessions.edits.edit import Neurons

    edited = {
        (change.layer, index)
        for entry in session.edits().entries
        for change in entry.edit.changes
        if isinstance(change, Neurons)
        for index in change.indices
    }
    busy = edited | {neuron.site for neuron in session.suppressed}
    # What is 0 throughout in a mixture of experts may be of an expert that no token is sent to.
    least = 1e-9 if session.opened().info.experts else 0.0
    found = candidates(levels, layers=layers, between=(least, math.inf))
    best = next((each for each in found if (each.layer, each.index) not in busy), None)
    if best is None:
        raise UsageError(f"no neuron of {over} is free", "name one: rewrite L12/N34")
    neuron = Neuron(best.layer, best.index)
    return neuron, (f"{neuron} is given up: it is never more than {best.largest:.2g} in size over {over}",)


def _taken(
    session: Session,
    made: Rewriting,
    token: TokenOfModel,
    found: Examples,
    kept: tuple[str, str, bool],
    notes: tuple[str, ...],
) -> Rewritten:
    """The edit, applied and saved, and what is said of it."""
    from dataclasses import replace

    from sessions.edits.commuting import beside
    from sessions.rewriting.rewriting import remarks

    neuron, row = made.made.neuron, made.rows[made.chosen]
    facts = {
        "neuron": str(neuron),
        "token": token.text,
        "rule": found.rule,
        "alpha": f"{row.alpha:g}",
        "scale_g": f"{made.made.scale_gate:.6g}",
        "examples": found.source,
    }
    facts |= {} if made.made.scale_up is None else {"scale_u": f"{made.made.scale_up:.6g}"}
    facts |= {} if made.brake is None else {"brake": str(made.brake.neuron), "beta": f"{made.brake.beta:g}"}
    name, command, force = kept
    about = f'{neuron} says "{token.text}" {found.rule}'
    saved = session.take_edit(replace(made.edit, about=about, facts=facts), name, command, force=force)
    return Rewritten(
        name=saved.name,
        neuron=neuron,
        token=token,
        rule=found.rule,
        examples=found.source,
        learnt=_counts(found.learnt),
        held=_counts(found.held),
        apart=found.apart,
        rows=made.rows,
        chosen=made.chosen,
        before=made.before,
        scale_gate=made.made.scale_gate,
        scale_up=made.made.scale_up,
        bias=made.made.bias,
        separation=made.separation,
        firing=made.firing,
        norm=made.norm,
        normed=session.opened().anatomy.layers[neuron.layer].write_norm is not None,
        brake=made.brake,
        replies=made.replies,
        repetition=made.repetition,
        held_back=made.held_back,
        collapsed=made.collapsed,
        path=str(session.store.path("edit", saved.name)),
        notes=(*notes, *remarks(made, found), *beside(session.opened(), session.edits(), saved)),
    )


def _counts(texts: object) -> tuple[int, int, int]:
    """Texts, positions where it should fire, and positions elsewhere."""
    return len(texts), sum(len(t.where) for t in texts), sum(len(t.elsewhere) for t in texts)  # type: ignore
