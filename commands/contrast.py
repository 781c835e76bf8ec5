"""Two sets of prompts: `contrast`."""

from __future__ import annotations

from typing import Annotated

from commands.fields import Batch
from commands.names import Prompts
from commands.ranges import Layers
from commands.request import Arg, Flag, Opt, Request
from commands.verb import verb
from commands.words import Real, Whole
from sessions.events import Steps
from sessions.procedures.circuits import choice_of, range_of
from sessions.results import Discovered
from sessions.session import Session
from sessions.texts.prompt_sources import prompts_of

FAMILY = "Circuits"


@verb(
    "contrast",
    family=FAMILY,
    synonyms=("difference", "contrastive"),
    needs=("model",),
    example=(
        'contrast "I love this film" "I hate this film" --top 50',
        'contrast "I feel wonderful" "I feel terrible" --cumulative 0.5 --layers 9-20',
    ),
)
class Contrast(Request, frozen=True):
    """Find the neurons that differ most between two sets of prompts.

    A neuron's score is its mean activation over the positive prompts minus that over the negative ones, at the last
    token. The largest, whatever their sign, become the session's circuit. It has no target and no positions: scores
    are activations, not logits, and show what differs, not what has an effect. Test that with ablate or amplify.

    Files hold one prompt a line, as text or as JSON, {"prompt": "…", "seed": "…"}; the two sides may differ in
    size.
    """

    positive: Annotated[str, Arg(Prompts(), "a file of prompts, or one prompt: the positive side")]
    negative: Annotated[str, Arg(Prompts(), "the same: the negative side")]
    top: Annotated[
        int | None, Opt(Whole(), "neurons at most (default: the setting top, unless --cumulative is given)")
    ] = None
    cumulative: Annotated[
        float | None, Opt(Real(1.0), "the fewest neurons that hold this fraction (0 to 1) of all |difference|")
    ] = None
    per_layer: Annotated[int | None, Opt(Whole(), "first reduce each layer to this many, the strongest")] = None
    layers: Annotated[tuple[int, int] | None, Opt(Layers(), "only these layers: 9-26 (default: all but 0 and 1)")] = (
        None
    )
    raw: Annotated[bool, Flag("read the prompts without the chat template")] = False
    batch: Batch = None

    def run(self, session: Session) -> Steps[Discovered]:
        from sessions.circuits.contrast import contrast

        chosen, sides = range_of(session, self.layers), (self.positive, self.negative)
        texts = [[session.read(record.to_read()).ids for record in prompts_of(word, self.raw)] for word in sides]
        contrasted = yield from contrast(
            session.opened(),
            *texts,
            choice=choice_of(session, self.top, None, self.cumulative, self.per_layer),
            layers=chosen,
            batch=self.batch,
            cancel=session.cancel,
        )
        circuit = session.use_circuit(contrasted.circuit)
        return Discovered(circuit=circuit, candidates=contrasted.candidates, notes=contrasted.notes)
