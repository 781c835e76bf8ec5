"""Samples of the families that have no file of their own yet."""

from __future__ import annotations

import math
from typing import Any

from msgspec import structs

from sessions import results
from sessions.circuits.agreement import Agreement
from sessions.circuits.circuit import Circuit
from sessions.circuits.comparing import compared
from sessions.circuits.findings import Moment
from sessions.circuits.flow import Edge, SuperWeight, between_layers, bottlenecks, gathered, hubs
from sessions.comparisons.cells import Cell, Knee, Top, curve_of
from sessions.directions.findings import Aligned, Direction, LayerCosine, Origin, Reads, Span, TopOverlap
from sessions.evaluation.pairing import paired
from sessions.evaluation.scores import ByLanguage, Reply, score
from sessions.events import State, Value
from sessions.interventions.arms import Arm, PartInForce
from sessions.interventions.presets import Known
from sessions.model.info import Encoded, ModelInfo, Prompt, Token, TokenChance, Turn
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.store import Row
from sessions.training.comparing import compared as rounds_compared
from sessions.training.findings import Epoch, Outcome, Plan, Round, Step
from sessions.training.trajectory import trajectory
from tests.samples.atlas import profiled


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


def edited(text: str) -> list[Value]:
    """A model with its edits as files, and files and their sums."""
    return [
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
    row = results.NeuronRow
    info = ModelInfo(
        name=text or "smollm2", source=text, family="llama", fingerprint="0" * 64, dtype="float32", device="cpu",
        n_layers=30, d_model=576, d_mlp=(1536,) * 30, n_heads=9, vocab_size=49152, n_parameters=134_515_008,
        has_template=True, has_thinking=False, refusals=(("discover", text),),
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
            neuron=neurons[0], target=target, moments=(Moment(41, text, -37.5, 1.5, 2.5),),
            everywhere=2.75, rank=1, circuit_size=4, up=(text,), down=(" b",), column_norm=5.5,
            reads=(
                Reads(
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
        results.Swept(
            target=target, arms=(after, before), knee=Knee(prompt=0, token=text), folder=text, chart=text, **around
        ),
        results.Swept(target=None, arms=(bare, bare), **around),
        results.Swept(target=None, arms=(bare, before), over="weights", knee=Knee(prompt=0, token=text), **around),
        structs.replace(swept(target, text, 2), over="depths"),
        results.PromptSet(encoded=encoded, generated=results.Generated(encoded=encoded, arm=before)),
        swept(target, text, 1),
        swept(target, text, 3),
        results.Narrowed(circuit=circuit, before=200),
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
        *rounds(text),
        results.PresetShown(
            name="calm", size=30, listed=2, live=True,
            neurons=(
                Known(id=text, layer=24, index=1005, gain=3.5, tier=text, region="answer"),
                Known(id="L0/N1", layer=0, index=1, gain=-1e6, tier=2, mode="hold", positions=((0, 3), (12, 12))),
                Known(id="L0/N2@-1", layer=0, index=2, gain=0.0, mode="multiply", position=-1),
            ),
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
