"""Samples of the families that have no file of their own yet."""

from __future__ import annotations

import math

from msgspec import structs

from sessions import results
from sessions.atlas.findings import Peak, Profile, QuietRow, TopRow
from sessions.directions.features import About, Encoding, Feature
from sessions.edits.findings import (
    DeltaDirection,
    DeltaPart,
    DeltaPush,
    EditedMatrix,
    EditedNeuron,
    EditedPart,
    NeuronDelta,
)
from sessions.events import Value
from sessions.interventions.arms import Arm, Shift
from sessions.model.info import Encoded, Token
from sessions.model.target import Target
from sessions.model.units import Neuron
from sessions.patching.transplants import LayerMap, Observed, Placed
from sessions.rewriting.rewritten import AtAlpha, Braked, Firing, Replied, Saying, Separation
from sessions.surgery.cuts import LayerCut
from tests.filling import filled
from tests.samples.circuits import NEURONS as neurons
from tests.samples.circuits import target as target_of
from tests.samples.interventions import bare_arm, before_and_after


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
    encoded = filled(Encoded, text)
    target = target_of(text)
    before, after = before_and_after(text)
    bare = bare_arm(text)
    token, other = target.tokens[0], Token(8, " Dallas")
    shifts = (Shift(token, 0.6123, 0.0002), Shift(other, 0.0, 0.31))
    opened_sae = About(
        source=text, architecture="topk", layer=12, site="resid_pre", size=65536, width=2304, k=32,
        normalised="layer_norm", centred=False, model=text, page=f"https://www.neuronpedia.org/{text}",
    )  # fmt: skip
    return [
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
        results.AdapterShown(
            done="merged", row=results.AdapterRow(name="fr", rank=8, projections=60, targets=(text,), parameters=7),
            changed=3, positions=388, path=text,
        ),
        results.Ensembled(
            row=results.AdapterRow(name="both", rank=8, projections=60, targets=(text,), number=3, weight=1.0),
            members=(("fr", 0.6), ("es", -0.4)), combination="linear", off=0.571, taken_off=("fr", text),
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
        *rewritings(text),
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
        *edited(text),
        *cuttings(text, (before, after)),
    ]  # fmt: skip
