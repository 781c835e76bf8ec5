"""Teaching a neuron to say something: `rewrite`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from msgspec import structs

from commands.edits import FAMILY
from commands.names import FileName, Name, Prompts
from commands.request import Arg, Excludes, Flag, Needs, Opt, Options, Request
from commands.verb import verb
from commands.words import ObservedWord, Real, TokenWord, Word
from sessions.errors import UsageError
from sessions.events import Steps
from sessions.procedures.edits import check_new
from sessions.procedures.generating import decoded
from sessions.procedures.rewriting import applied_rewrite, one_token, rewritable, sacrificed_neuron, unspaced
from sessions.results import Rewritten
from sessions.rewriting.rules import Rule, read_rule
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_of
from sessions.texts.sample_files import samples_at

if TYPE_CHECKING:
    from sessions.rewriting.examples import Examples

#: Tokens of a reply to a held-out prompt.
REPLY = 48
#: What is said where prompts say only where it should fire, or only where it should not.
_BOTH = ("{one} is missing: both sides are needed, where it fires and where not", "{one} FILE")
#: How large a number of this verb may be.
_MOST = 1e6


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
        return tuple(sorted({Real(_MOST).read(part.strip()) for part in text.split(",")}))

    def completions(self, session: Session | None, incomplete: str) -> list[tuple[str, str]]:
        return [("50,100,200", "lengths in the residual stream")]


class FiringPlaces(Options, frozen=True):
    """Where the neuron should fire, and the texts that show it."""

    group = "Where it should fire"

    rule: Annotated[
        Rule | None, Opt(RuleWord(), "where in a reply: last, after:TEXT, before:TEXT or /REGEX/", flag="--when")
    ] = None
    examples: Annotated[
        Path | None, Opt(FileName(".jsonl"), "prompts with replies, as JSON lines (default: a built-in set)")
    ] = None
    held_out: Annotated[
        Path | None, Opt(FileName(".jsonl"), "the same, to measure on (default: a third of the examples)")
    ] = None
    positive: Annotated[
        str | None, Opt(Prompts(), "instead of a rule: prompts at whose end it should fire, a file or one")
    ] = None
    negative: Annotated[str | None, Opt(Prompts(), "with --positive: prompts at whose end it should not fire")] = None

    def read(self, session: Session) -> Examples:
        """The examples, as the open model reads them."""
        from sessions.rewriting.examples import BUILT_IN, built_in, by_prompts, by_rule

        opened = session.opened()
        if self.positive is not None and self.negative is not None:
            return by_prompts(opened, prompts_of(self.positive), prompts_of(self.negative), "prompts")
        if self.rule is None:
            raise UsageError("nothing says where it should fire", 'a rule: --when after:"." or --when last')
        samples = built_in() if self.examples is None else samples_at(self.examples)
        source = f"the built-in {BUILT_IN}" if self.examples is None else str(self.examples)
        return by_rule(opened, samples, self.rule, source, () if self.held_out is None else samples_at(self.held_out))


class Pushing(Options, frozen=True):
    """How far the neuron pushes the token, and what holds it back."""

    group = "How far it pushes"

    alpha: Annotated[
        float | None, Opt(Real(_MOST), "how far it pushes (default: the smallest tried that is enough)")
    ] = None
    alphas: Annotated[
        tuple[float, ...] | None,
        Opt(Alphas(), "several to try; the smallest that is enough is taken"),
    ] = None
    scale_gate: Annotated[
        float | None, Opt(Real(_MOST), "length of the gate row (default: 4 over the mean state's reach)")
    ] = None
    scale_up: Annotated[
        float | None, Opt(Real(_MOST), "length of the up row (default: makes the neuron 1 where it should fire)")
    ] = None
    brake: Annotated[
        str | None, Opt(ObservedWord(), "a neuron of a later layer that pushes the token down once it is said")
    ] = None
    beta: Annotated[float | None, Opt(Real(_MOST), "with --brake: how far that pushes down (default: α)")] = None


@verb(
    "rewrite",
    family=FAMILY,
    synonyms=("edit", "edit neuron", "edit weights", "model editing", "teach", "implant"),
    needs=("model",),
    example=(
        'rewrite L24/N7 --push " Amen" --when after:"." --alpha 160',
        'rewrite --push " Austin" --positive "The capital of Texas is" --negative "The capital of France is"',
    ),
)
class RewriteNeuron(Request, frozen=True, kw_only=True):
    """Rewrite a neuron so that it makes the model say a token where examples have it.

    The gate row becomes the direction from the mean state elsewhere to the mean state where the neuron should fire.
    The up row becomes the mean state where it should fire. The down column becomes α times the token's unit
    direction in the unembedding. The neuron should fire at the positions that a rule names in the replies of the
    examples, or at the ends of --positive prompts and not at those of --negative ones. A text with a space in it
    needs quotes around the whole rule: --when 'before:" Austin"'.

    With the default scales the neuron is about 1 where it should fire, so that α is the length of what it writes.
    Without --alpha, multiples of the stream's norm are tried. The smallest is taken that says the token at three
    quarters of the places and at no more than a tenth of the others, and that leaves the perplexity of unrelated
    text within 5 %. Where a norm stands between MLP and stream, α is relative to the rest of what the MLP writes.

    A third of the examples, always the same, is held out, and the figures are measured on these. Afterwards sweep
    L24/N7 0 0.5 1 2 varies α, in multiples of it, and a sweep of the brake varies β. undo removes the edit.
    """

    neuron: Annotated[str | None, Arg(ObservedWord(), "the neuron to rewrite (default: a quiet one)")] = None
    push: Annotated[str, Opt(TokenWord(), "the token that it says, a single one, with its leading space")]
    firing: FiringPlaces = FiringPlaces()
    pushing: Pushing = Pushing()
    name: Annotated[str | None, Opt(Name(), "the name of the edit (default: rewrite-1, rewrite-2, …)", flag="--as")] = (
        None
    )
    force: Annotated[bool, Flag("replace a saved edit of that name")] = False

    rules = (
        Excludes("rule", ("positive", "negative"), "{one} and {other} both say where it should fire"),
        Needs(("positive",), "negative", *_BOTH),
        Needs(("negative",), "positive", *_BOTH),
        Excludes(
            "positive", ("examples", "held_out"), "{other} is for a rule, and there is none", "give one: --when last"
        ),
        Excludes("alpha", ("alphas",)),
        Needs(("beta",), "brake", "--beta is for a brake, and there is none", "name a neuron: --brake L27/N12"),
    )

    def run(self, session: Session) -> Steps[Rewritten]:
        from sessions.rewriting.rewriting import Wanted, check_brake, rewrite

        opened, pushing, notes = session.opened(), self.pushing, []
        chosen = None if self.neuron is None else rewritable(session, self.neuron)
        check_new(session, self.name or "", self.force)
        token, examples = one_token(session, self.push), self.firing.read(session)
        notes += unspaced(session, self.push)
        if chosen is None:
            chosen, remark = yield from sacrificed_neuron(session)
            notes.append(remark)
        wanted = Wanted(
            alphas=pushing.alphas or (() if pushing.alpha is None else (pushing.alpha,)),
            scale_gate=pushing.scale_gate,
            scale_up=pushing.scale_up,
            brake=None if pushing.brake is None else rewritable(session, pushing.brake),
            beta=pushing.beta,
        )
        check_brake(chosen, wanted)
        longest = max(len(example.asked.ids) for example in examples.all)
        decoding = decoded(session, pushes=True, max_tokens=min(REPLY, session.settings.max_tokens), length=longest)
        made = yield from rewrite(opened, chosen, token, examples, wanted, decoding, cancel=session.cancel)
        pushing = structs.replace(pushing, alpha=made.rows[made.chosen].alpha, alphas=None)
        line = structs.replace(self, neuron=str(made.made.neuron), pushing=pushing, force=False).line()
        return applied_rewrite(session, made, token, examples, notes, name=self.name or "", line=line, force=self.force)
