"""Two sets of prompts: `contrast`."""

from __future__ import annotations

from commands.circuits import limits_of, range_of
from commands.names import Prompts
from commands.reading import prompts_of
from commands.verb import argument, option, verb
from commands.words import Layers, Real, Whole
from sessions.events import Steps
from sessions.results import Discovered
from sessions.session import Session

FAMILY = "Circuits"


@verb("contrast", family=FAMILY, example='contrast "I love this film" "I hate this film" --top 50')
@argument("positive", help="a file of prompts, or one prompt: what neurons are looked for", type=Prompts())
@argument("negative", help="the same: what it is told from", type=Prompts())
@option("--top", type=Whole(), help="neurons at most (default: the setting top, unless --cumulative is given)")
@option("--cumulative", type=Real(1.0), help="the fewest neurons that hold this fraction (0 to 1) of all |difference|")
@option("--per-layer", type=Whole(), help="first reduce each layer to its strongest so many")
@option("--layers", type=Layers(), help="only these layers: 9-26 (default: all but 0 and 1)")
@option("--raw", is_flag=True, help="read the prompts without the chat template")
@option("--batch", type=Whole(), help="tokens computed at once, which bounds the memory")
def contrast(
    session: Session,
    positive: str,
    negative: str,
    top: int | None,
    cumulative: float | None,
    per_layer: int | None,
    layers: tuple[int, int] | None,
    raw: bool,
    batch: int | None,
) -> Steps[Discovered]:
    """Find the neurons that two sets of prompts tell apart.

    A neuron's number is its mean activation over the positive prompts minus that over the negative ones, at the
    last token; the largest, whatever their sign, become the session's circuit. It has no target and no positions:
    the numbers are activations, not logits, and say what differs, not what it does. Try it: ablate, or amplify.
    Files hold a prompt a line, as text or as JSON, {"prompt": "…", "seed": "…"}; the sides need not be of one size.
    """
    from sessions.circuits.contrast import contrast
    from sessions.model.rows import LARGEST_BATCH

    chosen = range_of(session, layers)
    texts = [[session.read(each.to_read()).ids for each in prompts_of(word, raw)] for word in (positive, negative)]
    found = yield from contrast(
        session.opened(),
        *texts,
        choice=limits_of(session, top, None, cumulative, per_layer),
        layers=chosen,
        batch=batch or LARGEST_BATCH,
        cancel=session.cancel,
    )
    circuit = session.use_circuit(found.circuit)
    return Discovered(circuit=circuit, candidates=found.candidates, notes=found.notes)
