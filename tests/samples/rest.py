"""Samples of the families that have no file of their own yet."""

from __future__ import annotations

import math
from typing import Any

from msgspec import structs

from sessions import results
from sessions.atlas.findings import Peak, Profile, QuietRow, TopRow
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit, Neuron, Target
from sessions.circuits.comparing import compared
from sessions.circuits.flow import Edge, SuperWeight, between_layers, bottlenecks, gathered, hubs
from sessions.comparisons.cells import Cell, Knee, Top, curve_of
from sessions.directions.features import About, Encoding, Feature
from sessions.directions.findings import Aligned, Direction, LayerCosine, Origin, Span, TopOverlap
from sessions.edits.findings import (
    DeltaDirection,
    DeltaPart,
    DeltaPush,
    EditedMatrix,
    EditedNeuron,
    EditedPart,
    NeuronDelta,
)
from sessions.evaluation.pairing import paired
from sessions.evaluation.scores import ByLanguage, Reply, score
from sessions.events import State, Value
from sessions.interventions.arms import Arm, PartInForce, Shift
from sessions.interventions.presets import Known
from sessions.model.info import Encoded, ModelInfo, Prompt, Token, TokenChance, Turn
from sessions.patching.transplants import LayerMap, Observed, Placed
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation
from sessions.store import Row
from sessions.surgery.cuts import LayerCut
from sessions.training.comparing import compared as rounds_compared
from sessions.training.findings import Epoch, Outcome, Plan, Round, Step
from sessions.training.trajectory import trajectory


def flowing(target: Target, tokens: tuple[str, ...], neurons: tuple[Neuron, ...], path: str) -> results.Edges:
    """Edges between neurons, each into all others and into the target."""
    places = [neuron.place for neuron in neurons]
    rows = [[1.5 if source != into else 0.0 for source in places] for into in (*places, None)]
    flow = gathered(places, [*places, None], rows, [-2.0, 0.0, 3e-7, 7.3125][: len(rows)], [0.25] * len(rows))
    return results.Edges(
        target=target, tokens=tokens, neurons=neurons, targets=2, total=len(flow.edges), listed=4, edges=flow.edges,
        outputs=flow.outputs, inflows=flow.inflows, hubs=hubs(flow), bottlenecks=bottlenecks(flow),
        super_weights=(SuperWeight(places[0], 1.5, 5, 12.5),), layers=between_layers(flow), path=path,
    )  # fmt: skip


def swept(target: Target, text: str, prompts: int) -> results.SweptGrid:
    """Two selections at two multipliers beside 1: the first flips the token at the lower, the second never."""
    first = text or "top9"
    places = [("", 1.0), (first, 0.0), (first, 2.0), ("top5", 0.0), ("top5", 2.0)]
    cells = tuple(
        Cell(
            prompt=prompt, selection=selection, multiplier=multiplier, target=multiplier, target_probability=0.25,
            top=Top(int(multiplier == 0 and selection == first), text, 0.5, 1.0), text=text, ids=(1,), length=1,
            stopped="eos", fired=None,
        )
        for prompt in range(prompts) for selection, multiplier in places
    )  # fmt: skip
    curves = curve_of(first, 12, cells), curve_of("top5", 5, cells)
    common, folder = (target, "") if prompts == 1 else (None, text)
    return results.SweptGrid(
        scope=text, prompts=prompts, target=common, targets=prompts, curves=curves, cells=cells, folder=folder
    )


def placed(text: str) -> tuple[Placed, ...]:
    """Two vectors at their places, the second where it reaches nothing."""
    first = Placed(
        name="x", position=5, token=text, layer=9, site="resid_pre", norm=140.0, replaced=122.5, cosine=0.6,
        came_from=text,
    )  # fmt: skip
    return first, structs.replace(first, came_from="", cosine=None, reaches=False, reaches_below=4)


def layer_map(text: str, encoded: Encoded, target: Target | None, count: int) -> results.InjectedByLayer:
    """A map of so many layers, of which one cell is no number; from layer 2 on nothing is reached."""
    row = tuple(float(number) for number in range(count))
    return results.InjectedByLayer(
        encoded=encoded, adds=False, scale=1.0, inputs=False, place=placed(text)[0], target=target, observed=None,
        measure="kl" if target is None else "probability",
        map=LayerMap(
            layers=tuple(range(count)), cells=(row,) * (count - 1) + ((*row[:-1], math.nan),), without=0.5,
            source=None if target is None else 2.5, random=row, reaches_below=2,
        ),
    )  # fmt: skip


def profiled(text: str) -> Profile:
    """A neuron over a corpus, with `text` as its tokens and around them."""
    peaks = tuple(
        Peak(value=value, document=7, position=41, token=text, before=(text, " of"), after=(text,) * 5)
        for value in (12.5, 3.25)
    )
    return Profile(
        neuron=Neuron(24, 1005), atlas=text, corpus=text, documents=1200, count=98_000, mean=-0.012, std=1.5, size=0.4,
        rate=0.031, quantiles=((0.05, -0.5), (0.5, 1e-5), (0.95, 0.75)), high=peaks, low=peaks[:1],
    )  # fmt: skip


def cuttings(text: str, arms: tuple[Arm, ...]) -> list[Value]:
    """Subspaces cut out of the weights: of versions, from MLPs and attentions, and of tokens; and problems written."""
    layers = tuple(
        LayerCut(
            layer=layer, dims=10, captured=captured, differing=1200, down=0.137, attention=1e-7, apart=(2.08, 1234.5),
        )
        for layer, captured in ((9, 0.9), (10, 1e-9))
    )  # fmt: skip
    of_versions = results.SubspaceCut(
        name="surgery-1", what=text, keeps=False, writers=("down", "attn_out"), at="mean", versions=("en", text) * 4,
        prompts=12, layers=(*layers, structs.replace(layers[0], apart=None)), arms=arms, path=f"/home/u/{text}",
        notes=(text,),
    )  # fmt: skip
    of_tokens = results.SubspaceCut(
        name="x", what=text, keeps=True, writers=("down",), at="", versions=(), prompts=0, arms=(), path="/home/u/x",
        layers=(LayerCut(layer=0, dims=1, down=1.0),),
    )  # fmt: skip
    problems = results.ProblemsWritten(
        path=text, seed=7, languages=("zh", "en"), tasks=True, lines=200, kinds={"modular": 60, text: 40},
        first={"zh": text, "en": text, "es": text}, answer=text,
    )  # fmt: skip
    return [of_versions, of_tokens, problems, structs.replace(problems, tasks=False, lines=1)]


def edited(text: str) -> list[Value]:
    """Edits, one of them off; what is in an edit of each kind; files and their sums."""
    rows = tuple(
        results.EditRow(number=number, name=text or "a", verb="rewrite", about=text, on=number == 1, norm=norm)
        for number, norm in ((1, 12.5), (2, None))
    )
    part = EditedPart(part="gate", before=0.0, after=4.9e5, cosine=None, embeddings=(text,) * 3, stream=(text,))
    push = DeltaPush(up=(text,) * 3, down=(text,), token=text, z=-12.5, concentration=0.31, cosine=None)
    changed = DeltaPart(part="gate", norm=0.01, relative=None, embeddings=(text,) * 3, stream=(text,))
    delta = NeuronDelta(parts=(changed, structs.replace(changed, part="down", relative=0.02)), push=push)
    neuron = EditedNeuron(
        neuron=Neuron(24, 1005), parts=(part, structs.replace(part, part="down", cosine=-0.5)), up=(text,), down=(),
        share=0.99, cosines=(1.0, 0.61), delta=delta,
    )  # fmt: skip
    along = DeltaDirection(size=2.5, share=0.6, reads=(Neuron(12, 3),) * 5, push=structs.replace(push, cosine=0.5))
    matrix = EditedMatrix(
        where="L12 down", kind="without", dims=10, share=0.017, change=24.2, directions=(along, DeltaDirection(
            size=1.0, share=0.1, embeddings=(text,), stream=(text,) * 3, writes=(Neuron(12, 4),),
        )),
    )  # fmt: skip
    whole = results.EditInspected(
        number=1, name=text, verb="rewrite", about=text, on=True, model=text, command=text, norm=12.5,
        facts={text: text, "α": "3"},
        neurons=(neuron, structs.replace(neuron, cosines=(), delta=None)), total=40, tokens=((text, 3), (" a", 1)),
        matrices=(matrix, structs.replace(matrix, kind="all but")), apart=9.9e-7, notes=(text,),
        delta=delta.parts, delta_tokens=((text, 3), (" a", 1)), delta_top10=0.35,
    )  # fmt: skip
    return [
        results.EditsShown(rows=rows, done="undone", named=(text, "b"), undone=(text,), notes=(text,)),
        results.EditsShown(rows=()),
        whole,
        structs.replace(
            whole, number=0, on=False, neurons=(), total=0, tokens=(), facts={}, apart=1e-3,
            matrices=(EditedMatrix(where=text, kind="added", dims=8, share=0.5, change=8.25),),
        ),
        results.ModelExported(
            path=text, fingerprint="ab" * 32, dtype="float32", bytes=10**9, edits=(text,), reopened=True,
        ),
        results.Fingerprints(
            model=text, fingerprint="ab" * 32, weights="cd" * 32, unedited="ef" * 32, edits=(text,),
            files=((text, "01" * 32),), path=text,
        ),
        results.Fingerprints(model="", fingerprint="", weights="", unedited="", edits=(), files=()),
        results.FilesVerified(path=text, files=(text,)),
    ]  # fmt: skip


def evaluated(text: str) -> tuple[results.Evaluated, results.Evaluated]:
    """Three arms, the last of them broken, of tasks in two languages; and one arm without anything to compare."""
    replies = [
        Reply(
            task=number, name=text, arm=text, prompt=text, answer="42", right=number % 3 > 0, at=number, asked="en",
            language="en", kept=True, tokens=1200, repetition=0.125, stopped="length", guarded=3, text=text,
        )
        for number in range(1, 1201)
    ]  # fmt: skip
    first = score("base", "as it was opened", replies, 3.0, 2.5, None, 4000)
    second = score(text or "edit", text, replies, 3.001, 0.0, first, 4000)
    broken = score("broken", text, [structs.replace(reply, right=False) for reply in replies], 40.0, 1.0, first, 4000)
    rights, labels = [reply.right for reply in replies], [f"{reply.name or 'line'} {reply.task}" for reply in replies]
    return (
        results.Evaluated(
            path=text, tasks=1200, max_tokens=2048, unrelated=4000, scores=(first, second, broken), kept=text,
            pairs=(
                paired(("base", second.name), rights, rights, labels),
                paired((text, "broken"), rights, [False] * 1200, labels),
            ),
            languages=(
                ByLanguage("en", 1000, (600, 600, 0), (1e3, 7.5, None), (812.5, None, None), (0, 9, 9), (0, 9, 0)),
                ByLanguage("", 200, (200, 200, 0)),
            ),
            notes=(text,),
        ),
        results.Evaluated(
            path=text, tasks=1, max_tokens=1, unrelated=0, pairs=(), languages=(), kept=text,
            scores=(score(text, "", [structs.replace(replies[0], repetition=None, kept=None)], None, 0.0, None, 0),),
        ),
    )  # fmt: skip


def rounds(text: str) -> list[Value]:
    """A round with a control, one of neurons alone that ended early, and what came of three."""
    neurons = (Neuron(24, 1005, attribution=1.954), Neuron(3, 7, attribution=1e-7))
    outcome = Outcome(initial=(4.0, 3.0), final=(1.0, 2.5), curve=(Step((0, 1), 4.0, 1e-4),))
    first = Round(
        name=text or "it-1", model=text, fingerprint="f", command=text, created="", seconds=1.0, versions={},
        plan=Plan(modules=("down_proj", text)), data="", samples=(text, "second"), suppressed=neurons, outcome=outcome,
        recruited=neurons, after="it-0", control=outcome, config={},
    )  # fmt: skip
    measured = structs.replace(
        outcome, plain_initial=(5.0, 4.0), plain_final=(2.0, 3.5), gradient={text or "q_proj": (0.5, 1e-9, 2.0)},
        epochs=(
            Epoch(loss=3.5, plain_loss=4.5, losses=(4.0, 3.0), plain_losses=(5.0, 4.0)),
            Epoch(loss=1.0, plain_loss=2.0, losses=(None, 1.0), plain_losses=(None, 2.0)),
        ) * 9,
    )  # fmt: skip
    second = structs.replace(first, outcome=measured, control=measured)
    alone = structs.replace(
        first, plan=Plan(modules=(), neurons=neurons), control=None, recruited=(), samples=(text,),
        outcome=Outcome(initial=(4.0,), final=(math.nan,), curve=(), stopped="the loss was no number at step 3 of 9"),
    )  # fmt: skip
    return [
        results.RoundTrained(round=first, path=text, notes=(text,)),
        results.RoundTrained(round=alone, path=text),
        results.RoundTrained(round=second, path=text),
        results.RoundsShown(trajectory=trajectory([(second, 0.5)]), rounds=(second,)),
        results.RoundsShown(trajectory=trajectory([(second, 0.5), (first, 0.5)]), rounds=(second, first)),
        results.RoundsCompared(names=(text, text), comparison=rounds_compared(first, second, 7)),
        results.RoundsCompared(names=(text, text), comparison=rounds_compared(second, alone)),
        results.RoundsShown(trajectory=trajectory([(first, 0.5), (first, 0.1), (alone, None)]), rounds=(first,)),
        results.RoundsShown(trajectory=trajectory([(alone, None)]), rounds=(alone,), chart=text),
        results.RecruitsShown(
            name=text, measure="activation", total=91.5, suppressed=60,
            rows=(
                results.RecruitRow(neurons[0], 0.02, (text, " Austin"), (text,), text),
                results.RecruitRow(neurons[1], 0.0, (), ()),
            ),
        ),
    ]  # fmt: skip


def rewritings(text: str) -> list[Value]:
    """A neuron that says `text`, with a brake and a collapse; and one without a gate, that was never let answer."""
    saying = Saying(where=0.833, elsewhere=0.0, chance_where=0.742, chance_elsewhere=1e-5)
    rows = tuple(
        AtAlpha(alpha=alpha, learnt=saying, held=saying, perplexity=perplexity, said=said, repetition=repetition)
        for alpha, perplexity, said, repetition in ((93.5, 1.003, 0, 0.0), (1e6, 4.2e7, 1250, None))
    )
    separation = Separation(where=0.6, elsewhere=-0.06, auc=1.0, inputs=(4.01, -0.51))
    firing = Firing(threshold=0.5, where=1.0, elsewhere=0.002, mean_where=1.01, mean_elsewhere=4.4e-3)
    whole = results.Rewritten(
        name="amen", neuron=Neuron(24, 1005), token=Token(7, text), rule=text, examples=text, learnt=(1238, 114, 21045),
        held=(18, 54, 501), apart=True, rows=rows, chosen=1, before=saying, scale_gate=1.57, scale_up=0.0747, bias=None,
        separation=separation, firing=firing, norm=467.0, normed=False, repetition=(0.017, 0.6), held_back=(0.0, 0.2),
        brake=Braked(
            neuron=Neuron(29, 1535), beta=187.0, scale_gate=1.0, scale_up=None, separation=separation, firing=firing,
            again=(0.9, 0.001),
        ),
        replies=(Replied(prompt=text, before=text, after=text, guarded=3),) * 2, collapsed=True, path=f"/home/u/{text}",
        notes=(text,),
    )  # fmt: skip
    bare = structs.replace(
        whole, apart=False, scale_up=None, bias=-2.5, normed=True, brake=None, replies=(), collapsed=False,
        held_back=(0.0, 0.0), notes=(),
    )  # fmt: skip
    return [whole, bare]


def samples(text: str) -> list[Value]:
    """One result of every kind, with `text` wherever a user or a model may have put it."""
    prompt = Prompt(text=text, seed=text, system=text)
    encoded = Encoded(prompt=prompt, text=text, ids=tuple(range(42)), tokens=(text,) * 42, bos=1, templated=True)
    token, other = Token(7, text), Token(8, " Dallas")
    target = Target(tokens=(token,), counterfactual=other, value=7.3125)
    neurons = (
        Neuron(24, 1005, 41, 1.5234, 3.21),
        Neuron(3, 12, 0, -0.0401, -0.2),
        Neuron(0, 1, -1, 3.1e-05, 0.0),
        Neuron(29, 1535),
    )
    circuit = Circuit(
        neurons=neurons, prompt=prompt, ids=encoded.ids, tokens=encoded.tokens, target=target, method="lrp",
        attention="frozen", chosen="top 4", conservation=3.2e-7, total=9.1, model="smollm2", fingerprint="f" * 16,
        name="texas",
    )  # fmt: skip
    chances = (TokenChance(7, text, 0.6123, 18.21, 1), TokenChance(8, " Dallas", 0.0000213, -3.5, 2))
    before = Arm(
        name="baseline", multiplier=1, text=f"It is Austin. {text}", ids=(1, 2), stopped="eos", next_tokens=chances,
        target=7.3125, target_probability=0.6123,
    )  # fmt: skip
    after = Arm(
        name="ablated", multiplier=0, text=text, ids=(1,), stopped="length", next_tokens=chances, target=-1.25,
        target_probability=0.0002,
    )  # fmt: skip
    bare = Arm(name=text, multiplier=1.5, text=text, ids=(), stopped="stop", next_tokens=())
    twice = structs.replace(bare, multiplier=2)
    shifts = (Shift(token, 0.6123, 0.0002), Shift(other, 0.0, 0.31))
    row = results.NeuronRow
    info = ModelInfo(
        name=text or "smollm2", source=text, family="llama", fingerprint="0" * 64, dtype="float32", device="cpu",
        n_layers=30, d_model=576, d_mlp=(1536,) * 30, n_heads=9, vocab_size=49152, n_parameters=134_515_008,
        has_template=True, has_thinking=False, refusals=(("discover", text),),
    )  # fmt: skip
    opened_sae = About(
        source=text, architecture="topk", layer=12, site="resid_pre", size=65536, width=2304, k=32,
        normalised="layer_norm", centred=False, model=text, page=f"https://www.neuronpedia.org/{text}",
    )  # fmt: skip
    around: dict[str, Any] = {"selection": text, "neurons": 4, "scope": "at all positions", "encoded": encoded}
    saved = Row(name="texas", kind="circuit", model=text, size=1200, target=text, modified="2026-01-02T03:04:05Z")
    return [
        results.ModelOpened(info=info, notes=(text, "the second note")),
        results.PromptSet(encoded=encoded),
        results.Tokens(encoded=encoded),
        results.Generated(encoded=encoded, arm=before),
        results.Distribution(encoded=encoded, chances=chances),
        results.Discovered(circuit=circuit, candidates=1_935_360),
        results.NeuronCard(
            neuron=neurons[0], target=target, moments=(results.Moment(41, text, -37.5, 1.5, 2.5),),
            everywhere=2.75, rank=1, circuit_size=4, up=(text,), down=(" b",), column_norm=5.5,
            reads=(
                results.Reads(
                    name="gate", norm=4.5, along_output=-0.25, embeddings=((text,), (" b",)), stream=((" c",), ())
                ),
            ),
            universal=True, tokens=encoded.tokens, incoming=(Edge((3, 12, 0), (24, 1005, 41), 0.5),),
            outgoing=(Edge((24, 1005, 41), None, 1.25),), atlas=profiled(text),
        ),
        results.Faithfulness(
            prompts=40, size=25, held=text, whole=2.5, none=0.01, controls=2,
            rows=(
                results.FaithfulnessRow(size=10, kept=0.12, left=0.62, random_kept=-0.01, random_left=1.0),
                results.FaithfulnessRow(size=25, kept=1.05, left=None),
            ),
        ),
        results.NeuronTable(
            circuit=circuit,
            rows=tuple(
                row(neuron=n, token=text, share=circuit.share(n), up=(text, " Austin", " Texas"), down=(" the", text))
                for n in neurons
            ),
            total=200,
        ),
        results.NeuronTable(circuit=None, rows=(), total=0),
        results.NeuronTable(
            circuit=circuit, total=4, atlas=text, corpus=text,
            rows=(
                row(
                    neuron=neurons[0], token=text, share=0.2, up=(text, " Austin"), down=(text,), rate=0.005,
                    peak=profiled(text).high[0],
                ),
                row(neuron=neurons[1], token=text, share=None, up=(text,), down=()),
            ),
        ),
        results.Verified(
            circuit=circuit, neurons=tuple(structs.replace(n, effect=0.5) for n in neurons) * 4, held=text, value=2.0,
            agreement=Agreement(4, 0.94, None, 0.75),
        ),
        flowing(target, encoded.tokens, neurons[:3], text),
        structs.replace(flowing(target, encoded.tokens, neurons[:1], text), edges=(), total=0),
        results.Compared(verb="ablate", target=target, arms=(before, after), shifts=shifts, **around),
        results.Compared(verb="amplify", target=None, arms=(bare, twice), shifts=(), **around),
        results.Compared(
            verb="arms", target=target, shifts=(), **around,
            arms=(before, structs.replace(after, name=text, kl=(0.5, None, 1.5), fired=3, read=12), twice, bare),
        ),
        results.WorkingSet(suppressed=neurons, live=((text, 4), ("shift", 1)), added=2, notes=(text,)),
        results.WorkingSet(suppressed=(), live=(), released=2, ended=1),
        results.Swept(
            target=target, arms=(after, before), knee=Knee(prompt=0, token=text), folder=text, chart=text, **around
        ),
        results.Swept(target=None, arms=(bare, bare), **around),
        results.Swept(target=None, arms=(bare, before), over="weights", knee=Knee(prompt=0, token=text), **around),
        structs.replace(swept(target, text, 2), over="depths"),
        results.PromptSet(encoded=encoded, generated=results.Generated(encoded=encoded, arm=before)),
        results.StrengthShown(
            rows=(
                results.Strength(what="live", name=text, before=1.0, strength=1.1),
                results.Strength(what="alpha", name=text, before=1.0, strength=1.0, made=160.0),
            ),
            notes=(text,),
        ),
        swept(target, text, 1),
        swept(target, text, 3),
        results.Narrowed(circuit=circuit, before=200),
        results.AdaptersListed(
            rows=(
                results.AdapterRow(
                    name="fr", rank=16, projections=224, targets=("down_proj", text), parameters=41_943_040, base=text,
                    number=2, state="merged", weight=0.4, created="2026-11-21T10:00:00Z",
                ),
                results.AdapterRow(name="broken", error=f"{text} has no adapter_model.safetensors"),
            )
        ),
        results.AdaptersListed(rows=()),
        results.AdapterShown(
            done="merged", row=results.AdapterRow(name="fr", rank=8, projections=60, targets=(text,), parameters=7),
            changed=3, positions=388, path=text,
        ),
        results.Ensembled(
            row=results.AdapterRow(name="both", rank=8, projections=60, targets=(text,), number=3, weight=1.0),
            members=(("fr", 0.6), ("es", -0.4)), combination="linear", off=0.571, taken_off=("fr", text),
        ),
        results.VectorShown(
            name="calm", site="mlp_out", model=text, prompts=(12, 1), path=f"/home/u/{text}",
            directions=tuple(
                Direction(
                    layer=layer, norm=12.5, turned=None, neurons=(Aligned(neurons[0], -0.41),), up=(text, " Austin"),
                    down=(text,), explained=(0.1, 0.5, 1.0), chance=(0.01, 0.1, 0.2),
                )
                for layer in (9, 10)
            ),
        ),
        results.VectorShown(
            name="calm", site="neurons", model=text, prompts=(1, 2),
            directions=(
                Direction(
                    layer=9, norm=0.0, turned=0.5, neurons=(Aligned(neurons[0], 0.0),) * 8, up=(), down=(text,),
                    explained=(0.0, 0.0, 0.0), chance=(0.01, 0.1, 0.2),
                ),
            ),
        ),
        results.VectorShown(
            name="x", site="resid_pre", model=text, prompts=(1, 0),
            origin=Origin(text=text * 9, ids=(1, 2), position=1, token=text, neuron="L9/N3"),
            directions=(
                Direction(
                    layer=9, norm=1.5, turned=None, neurons=(Aligned(neurons[0], 0.5),), up=(text,), down=(),
                    explained=(0.1, 0.2, 0.3), chance=(0.01, 0.1, 0.2),
                ),
            ),
        ),
        results.Injected(
            encoded=encoded, adds=True, scale=2.5, inputs=True, placed=placed(text), target=target,
            observed=(
                Observed(neuron=neurons[0], place=0, source=2.5, without=-0.5, injected=2.4, random=0.1),
                Observed(neuron=neurons[3], place=1, source=None, without=0.0, injected=1e-7, random=-1e5),
            ),
            arms=(before, after, structs.replace(bare, name="random")), shifts=shifts, notes=(text,),
        ),
        results.Injected(
            encoded=encoded, adds=False, scale=1.0, inputs=False, placed=placed(text)[:1], observed=(), target=None,
            arms=(bare, bare, bare), shifts=(),
        ),
        layer_map(text, encoded, target, 3),
        layer_map(text, encoded, None, 90),
        results.AtlasBuilt(
            name="small", corpus=text, documents=1200, empty=3, tokens=98_000, layers=(0, 1, 2), neurons=46_080, k=10,
            length=128, bytes=80 << 20, path=f"/home/u/{text}", notes=(text,),
        ),
        results.AtlasShown(profile=profiled(text), listed=1),
        results.AtlasTop(
            atlas=text, corpus=text, layer=24, total=1536,
            rows=tuple(
                TopRow(neuron=neuron, peak=peak, mean=0.01, std=2.5, rate=0.012, up=(text, " b"))
                for neuron, peak in zip(neurons, profiled(text).high, strict=False)
            ),
        ),
        results.QuietShown(
            over=text, regions=(), positions=(9000,), total=12, neurons=46_080,
            rows=(QuietRow(neuron=neurons[0], largest=0.01, mean=1e-4, up=(text, " a"), down=(text,)),),
        ),
        results.QuietShown(
            over=text, regions=("thought", "answer"), positions=(900, 12), total=1, neurons=46_080,
            rows=(
                QuietRow(neuron=neurons[1], largest=34.5, mean=1.5, silent=0.25, silent_mean=0.1, ratio=138.0),
                QuietRow(neuron=neurons[2], largest=3.5, mean=0.5, silent=0.0, silent_mean=0.0, up=(text,)),
            ),
        ),
        *rewritings(text), *rounds(text),
        results.PresetShown(
            name="calm", size=30, listed=2, live=True,
            neurons=(
                Known(id=text, layer=24, index=1005, gain=3.5, tier=text, region="answer"),
                Known(id="L0/N1", layer=0, index=1, gain=-1e6, tier=2, mode="hold", positions=((0, 3), (12, 12))),
                Known(id="L0/N2@-1", layer=0, index=2, gain=0.0, mode="multiply", position=-1),
            ),
        ),
        results.AutoencoderOpened(about=opened_sae),
        results.StateEncoded(
            about=opened_sae, position=3, token=text, saved="state", path=f"/home/u/{text}",
            encoding=Encoding(
                active=412, unexplained=7.5, cosine=-0.25, norms=(195.5, 4.25e6),
                features=(
                    Feature(
                        index=65535, activation=7.25, share=0.5, norm=4.5, up=(text, " Austin"), down=(text,),
                        page=f"https://www.neuronpedia.org/{text}/65535",
                    ),
                    Feature(index=0, activation=0.0, share=0.0, norm=0.0),
                ),
            ),
        ),
        results.StateEncoded(
            about=opened_sae, position=None, token="", vector="calm",
            encoding=Encoding(active=0, unexplained=1.0, cosine=0.0, norms=(0.0, 0.0), features=()),
        ),
        results.MeansBuilt(
            name="facts", over=text, texts=12, tokens=1, neurons=46_080, places=17, path=f"/home/u/{text}",
        ),
        results.MeansShown(
            name="facts", model=text, over=text, texts=0, tokens=0, size=46_080, places=0,
            layers=(results.LayerMeans(layer=0, neurons=1536, size=0.01, strongest=Neuron(0, 5), mean=-2.5e4),),
            neurons=(results.NeuronMean(neuron=Neuron(24, 1005), mean=1.5),),
        ),
        results.CircuitsCompared(names=("texas", "current"), comparison=compared(circuit, circuit)),
        results.CircuitHeldAgainst(
            circuit="texas", size=200, vector="calm", site="resid_post", ranks=Agreement(4, None, None, 1.0),
            spans=(
                Span(layer=0, neurons=0, explained=0.0, chance=0.0, here=0, aligned=0),
                Span(layer=9, neurons=1200, explained=0.31, chance=0.0001, here=12, aligned=3),
            ),
            overlap=TopOverlap(
                top=50, along=50, among=46_080, strongest=50, both=2, expected=0.054, p=1.3e-3,
                neurons=(Aligned(Neuron(24, 1005, None, 1.6), -0.31), Aligned(Neuron(2, 3), 0.2)),
            ),
        ),
        results.VectorsCompared(
            names=("calm", "joy"), sites=("resid_post", "mlp_out"),
            layers=(LayerCosine(layer=3, cosine=None, norms=(0.0, 1e-9)),),
        ),
        results.UniversalShown(
            model=text, prompts=12, strongest=100,
            rows=(results.UniversalRow(neuron=neurons[0], prompts=11, up=(text,), down=(" the", text)),),
        ),
        results.UniversalShown(model=text, prompts=12, strongest=100, rows=(), published=text),
        *evaluated(text),
        *edited(text),
        *cuttings(text, (before, after)),
        results.Saved(name="texas", path=f"/home/u/{text}"),
        results.Loaded(name="texas", circuit=circuit),
        results.Listed(rows=(saved, Row(name="broken", kind="circuit", error=text))),
        results.Listed(rows=()),
        results.Deleted(name="texas", restore=f"import {text}"),
        results.Exported(path=text, format="json"),
        results.FileShown(path=text, entries=(results.FileEntry(key=text, kind="text", about=text),), left=3),
        results.Imported(path=text, circuit=circuit),
        results.Info(
            state=State(model="smollm2", prompt=text, seed=text, circuit=text, circuit_size=4),
            model=info, settings={"rows": "20"}, home=text, versions={"torch": "2.13"},
        ),
        results.Info(state=State(), model=None, settings={}, home="", versions={}),
        results.SettingsShown(settings={"top": "200"}, described={"top": text}),
        results.SettingsShown(settings={"top": "200"}, described={}, changed="top"),
        results.Expected(statement=f"text contains {text}", actual=text),
        results.Ran(path=text, lines=14),
        results.CommandFiles(
            rows=(results.CommandFile(name=text, heading=text, path=text, values={"model": "smollm2", "data": None}),)
        ),
        results.Unkept(what="NeuronTable", size=text),
        results.Restored(state=State(model=text, prompt=text, circuit=text, circuit_size=4)),
        results.Help(verb="ablate", text=text, example=text, families=(("circuits", (("ablate", text),)),)),
        results.Said(
            encoded=encoded, arm=structs.replace(before, fired=3, read=12), thought=text, answer=text,
            closing="</think>", exchanges=2, under=text,
        ),
        results.Said(encoded=encoded, arm=bare, thought="", answer=text, closing="", exchanges=1, notes=(text,)),
        results.Said(
            encoded=encoded, thought="", answer=text, closing="", exchanges=1,
            arm=structs.replace(
                before, fired=9, read=12,
                parts=(PartInForce("always", 33, 12), PartInForce("answer at positions 3-7", 12, 0, text, False)),
            ),
        ),
        results.HistoryShown(
            turns=(Turn("user", text), Turn("assistant", text, text, text), Turn(text, "")), exchanges=12, system=text,
            thinking=True,
        ),
        results.HistoryShown(turns=(), exchanges=0, system=None, thinking=None),
        results.Forgotten(exchanges=2, left=0),
        results.Forgotten(exchanges=0, left=0),
        results.Quit(),
    ]  # fmt: skip
