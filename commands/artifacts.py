"""What is kept by name: `save`, `load`, `list`, `delete`, `export`, `import`."""

from __future__ import annotations

import os
from pathlib import Path

from msgspec import structs

from commands.choices import OneOf
from commands.exporting import atlas_file, edit_bytes, means_bytes, model_exported, tensors_imported, vector_file
from commands.importing import (
    CONFIGURATIONS,
    PICKLES,
    import_configuration,
    import_inventory,
    import_maxima,
    import_means,
    import_published,
)
from commands.names import ArtifactName, FileName, Name, SavedName
from commands.verb import argument, option, verb
from commands.words import Gain, Text, Whole
from sessions.circuits import files
from sessions.circuits.circuit import Circuit
from sessions.circuits.sound import UNKNOWN_ID, check_fits
from sessions.earlier import inventories
from sessions.earlier.maxima import maxima_in
from sessions.errors import ArtifactError, UsageError
from sessions.events import Steps
from sessions.files.disk import read_file, write_file
from sessions.interventions.presets import Preset, sound
from sessions.lines import line_of
from sessions.model.info import Prompt, Token
from sessions.model.target import Target
from sessions.results import Deleted, Exported, FileShown, Imported, Listed, Loaded, ModelExported, Saved
from sessions.session import Session
from sessions.store import Key, check_model

FAMILY = "Saved by name"


@verb("save", family=FAMILY, example="save texas")
@argument("name", help="letters, digits, '.', '_' and '-', at most 64", type=Name())
@option("--force", is_flag=True, help="replace what has that name; the earlier file goes to the trash")
def save(session: Session, name: str, force: bool) -> Saved:
    """Save the circuit under a name, with everything needed to read it again."""
    circuit = session.found()
    named = structs.replace(circuit, name=name)
    path = session.store.save(
        "circuit",
        name,
        named,
        model=circuit.model,
        fingerprint=circuit.fingerprint,
        command=line_of(["save", name]),
        force=force,
    )
    session.circuit = named
    return Saved(name=name, path=str(path))


@verb("load", family=FAMILY, example="load texas")
@argument(
    "name", help="the name it was saved under; without it, what circuits there are", type=SavedName(), required=False
)
@option("--force", is_flag=True, help="even if it was made on another model")
def load(session: Session, name: str | None, force: bool) -> Loaded | Listed:
    """Load a saved circuit, with its prompt, into the session.

    A circuit belongs to the weights it was found on. It is refused on others, unless --force.
    """
    if name is None:
        return Listed(rows=tuple(session.store.rows("circuit")))
    circuit, notes = session.saved.read_circuit(name, force=force)
    _check(session, circuit)
    remark = _take(session, circuit)
    return Loaded(name=name, circuit=circuit, notes=tuple(filter(None, (*notes, remark))))


def _take(session: Session, circuit: Circuit) -> str:
    """Make it the session's circuit, and its prompt the session's; it has been checked. Returns a remark on that."""
    remark = ""
    if circuit.prompt.text and session.model is not None:
        prompt, remark = session.prompt_of(circuit)
        session.use_prompt(prompt)
        circuit = structs.replace(circuit, prompt=prompt)
    elif circuit.prompt.text:
        session.prompt = circuit.prompt
    session.circuit = circuit
    return remark


def _check(session: Session, circuit: Circuit) -> None:
    """Refuse a circuit whose neurons, tokens or prompt the open model, if there is one, cannot take."""
    if session.model is None:
        return
    length = len(session.read(circuit.prompt).ids) if circuit.prompt.text else 0
    check_fits(circuit, session.model.anatomy, length)


@verb("list", family=FAMILY, example="list")
def list_(session: Session) -> Listed:
    """List what is saved."""
    return Listed(rows=tuple(session.store.rows()))


@verb("delete", family=FAMILY, example="delete texas")
@argument("name", help="its name; vector:, preset:, atlas:, means: or edit:NAME for one of these", type=ArtifactName())
@option("--restore", is_flag=True, help="bring back what was deleted last under that name")
def delete(session: Session, name: Key, restore: bool) -> Deleted | Saved:
    """Delete what was saved; `delete NAME --restore` brings it back."""
    if restore:
        return Saved(name=str(name), path=str(session.store.restore(name.kind, name.name)))
    session.store.delete(name.kind, name.name)
    applied = name.kind == "edit" and session.ledger is not None and session.ledger.number_of(name.name)
    notes = ("it is still applied, and will not come back with the session: undo takes it off",) if applied else ()
    return Deleted(name=str(name), restore=line_of(["delete", name], {"--restore": True}), notes=notes)


_FORMATS = {
    "json": "a circuit, everything in it, a preset as an inventory of known neurons, or an atlas's strongest maxima",
    "reference": "a circuit as the reference implementation's file",
    "csv": "a circuit's neuron table",
    "safetensors": "a vector, an atlas, means or an edit, everything in it",
    "gguf": "a vector as llama.cpp's control vector",
}
#: What each kind can be written as, its usual format first.
_WRITTEN_AS = {
    "circuit": ("json", "reference", "csv"),
    "vector": ("safetensors", "gguf"),
    "preset": ("json",),
    "atlas": ("json", "safetensors"),
    "edit": ("safetensors",),
    "means": ("safetensors",),
}


@verb("export", family=FAMILY, example="export texas.csv")
@argument("path", help="the file to write, whose ending chooses the format, or with --model a folder", type=FileName())
@option("--format", type=OneOf("format", _FORMATS), help="how to write it (default: by the file's ending)")
@option("--name", type=ArtifactName(), help="a circuit's name, or vector:, preset:, atlas:, means: or edit:NAME")
@option("--model", is_flag=True, help="write the open model with its edits into a folder, as transformers does")
@option("--force", is_flag=True, help="replace the file if it exists; with --model, the model in the folder")
def export(
    session: Session, path: Path, format: str | None, name: Key | None, model: bool, force: bool
) -> Steps[Exported | ModelExported]:
    """Write what is saved, or the model with its edits, to files for other programs.

    A circuit is the session's, unless another is named. A vector at resid_post becomes a control vector for
    llama.cpp: export calm.gguf --name vector:calm. There direction N is added to what leaves layer N; it has none for
    layer 0, which is left out. A preset becomes a JSON inventory of known neurons: export known.json --name
    preset:calm. Of an atlas, the highest activation of each neuron is written, with its text, its position and its
    token: export maxima.json --name atlas:small.

    export FOLDER --model writes config, weights and tokenizer, the weights as they are now, to the bit; it is opened
    again before it counts as written. An edit is written as it was saved: export cut.safetensors --name edit:cut.
    """
    if model:
        if name is not None or format is not None:
            raise UsageError("--model writes the open model, in its one format", "leave out --name and --format")
        return (yield from model_exported(session, path, force))
    kind = "circuit" if name is None else name.kind
    if os.path.isdir(path):
        raise UsageError(f"'{path}' is a folder", f"name a file in it: {path / kind}.{_WRITTEN_AS[kind][0]}")
    chosen = format or path.suffix.lower().removeprefix(".")
    if chosen in _FORMATS and chosen not in _WRITTEN_AS[kind]:
        raise UsageError(
            f"{'an' if kind[0] in 'ae' else 'a'} {kind} cannot be written as {chosen}",
            "name a vector: --name vector:NAME" if kind == "circuit" else f"one of: {', '.join(_WRITTEN_AS[kind])}",
        )
    if chosen and chosen not in _FORMATS:
        raise UsageError(
            f"the ending .{chosen} names no format that a{'n' if kind[0] in 'ae' else ''} {kind} can be written in",
            f"one of: {', '.join(f'.{each}' for each in _WRITTEN_AS[kind])}; or say it: "
            f"--format {_WRITTEN_AS[kind][0]}",
        )
    chosen = chosen or _WRITTEN_AS[kind][0]
    if name is not None and name.kind == "vector":
        content, notes = vector_file(session, name.name, chosen)
    elif name is not None and name.kind == "atlas":
        content, notes = atlas_file(session, name.name, chosen), ()
    elif name is not None and name.kind == "edit":
        content, notes = edit_bytes(session, name.name), ()
    elif name is not None and name.kind == "means":
        content, notes = means_bytes(session, name.name), ()
    elif name is not None and name.kind == "preset":
        content, notes = _preset_file(session, name.name), ()
    else:
        circuit = session.found() if name is None else session.saved.read_circuit(name.name, force=True)[0]
        content, notes = _circuit_file(circuit, chosen), ()
    written = write_file(path.absolute(), content, force=force, what=f"'{path}'")
    return Exported(path=str(written), format=chosen, notes=notes)


def _circuit_file(circuit: Circuit, format: str) -> bytes:
    if format == "csv":
        return files.write_csv(circuit).encode()
    return (files.write_json if format == "json" else files.write_reference)(circuit)


def _preset_file(session: Session, name: str) -> bytes:
    header, preset = session.store.load("preset", name, Preset)
    about = {"model": header.model, "fingerprint": header.fingerprint}
    sound(preset, f"preset '{name}'")
    return inventories.written(preset, f"preset '{name}'", {key: text for key, text in about.items() if text})


#: How close the difference that a foreign file gives has to be to the one that is computed, as a part of it.
_CLOSE = 0.1
_IMPORTED = ("circuit", "vector", "preset", "edit", "means")


@verb("import", family=FAMILY, example="import circuit.json --as texas2")
@argument("path", help="a file exported here, or of another project", type=FileName(".json"))
@option(
    "--as",
    "name",
    type=ArtifactName(kinds=_IMPORTED),
    help="save it under this name at once; preset:NAME for an inventory",
)
@option(
    "--alpha",
    type=Gain(),
    help="of a neuron's signature: how hard it pushes; of a LoRA: its alpha (default: the file's)",
)
@option("--beta", type=Gain(), help="the same of the neuron that cuts the loop; 0 leaves it out")
@option("--top", type=Whole(), help="of differences of activations, or maxima: so many of the strongest (default: all)")
@option("--key", type=Text(), help="of means where a file has several: the key of those that are meant")
@option("--layer", type=Whole(0), help="of an atlas's maxima without one: the layer that its neurons are of")
@option("--force", is_flag=True, help="even if it was made on another model; replace what has the name")
def import_(
    session: Session,
    path: Path,
    name: Key | None,
    alpha: float | None,
    beta: float | None,
    top: int | None,
    layer: int | None,
    key: str | None,
    force: bool,
) -> Imported | Saved | Exported | FileShown:
    """Read a circuit from a file into the session, or save a vector, an edit or a preset from one.

    Reference circuit files say nothing of the model they come from; the neurons are checked against
    the open one. A .safetensors file is a vector, means or an edit that was exported here: it is saved, under its
    own name unless there is another. An inventory of known neurons is saved as a preset: import known.json --as
    preset:calm.

    Of what earlier projects wrote with torch.save (.pt), nothing but plain data is read and nothing is run: the
    signature of a neuron or deltas of neurons become an edit, differences of activations and a scan of dead neurons
    a preset, the factors of a LoRA an adapter, the recruits of training a round; of any other it is shown what is
    in it. Means of all neurons are kept to compare with: import diff.pt --as means:base --key base_means. The
    configuration of their rounds (.yaml) becomes a command file, a preset of theirs (.yaml, with its neurons under
    enabled) a preset.

    An inventory may hold presets of its own: each is saved beside it, as NAME.ITS-NAME. The maxima of an atlas (.json)
    are shown or, with --as preset:NAME, kept: preset:NAME:top300 selects the strongest.
    """
    if path.suffix.lower() in PICKLES:
        if layer is not None:
            raise UsageError("--layer is for the maxima of an atlas (.json)", "leave it out")
        if name is not None and name.kind == "means":
            return import_means(session, path, name, key, force)
        if key is not None:
            raise UsageError("--key says which means are meant", "--as means:NAME reads means")
        return import_published(session, path, name, force, alpha, beta, top)
    for flag, given in (("--alpha", alpha), ("--beta", beta), ("--key", key)):
        if given is not None:
            raise UsageError(f"{flag} is for a file that torch.save wrote", "leave it out")
    data = read_file(path.absolute()) if path.suffix.lower() == ".json" else None
    maxima = None if data is None else maxima_in(data, str(path))
    if maxima is not None:
        return import_maxima(session, maxima, name, path, top, layer, force)
    for flag, count in (("--top", top), ("--layer", layer)):
        if count is not None:
            raise UsageError(
                f"{flag} is for differences of activations, and for the maxima of an atlas", "leave it out"
            )
    if path.suffix.lower() in CONFIGURATIONS:
        return import_configuration(session, path, name, force)
    is_tensors = path.suffix.lower() == ".safetensors"
    if name is not None and name.kind in (("preset",) if is_tensors else ("vector", "edit", "means")):
        held = "a vector, means or an edit" if is_tensors else "a circuit or an inventory of known neurons"
        raise UsageError(f"a {path.suffix} file holds {held}, no {name.kind}", f"for example: --as {name.name}")
    if is_tensors:
        return tensors_imported(session, path, name, force)
    data = read_file(path.absolute()) if data is None else data
    if name is not None and name.kind == "preset":
        return import_inventory(session, inventories.read_inventory(data, str(path)), name, path, force)
    circuit = _circuit_in(data, str(path))
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(circuit.fingerprint, circuit.model, info.fingerprint, info.name, force))
        if not circuit.fingerprint:
            circuit = structs.replace(circuit, model=info.name, fingerprint=info.fingerprint)
        circuit = _as_formatted(session, circuit, notes)
        _check(session, circuit)
        circuit = _with_target_ids(session, circuit, notes)
    if name is not None:
        circuit = structs.replace(circuit, name=name.name)
        command = line_of(["import", path], {"--as": name.name})
        session.store.save(
            "circuit",
            name.name,
            circuit,
            model=circuit.model,
            fingerprint=circuit.fingerprint,
            command=command,
            force=force,
        )
    notes.append(_take(session, circuit))
    return Imported(path=str(path), circuit=circuit, notes=tuple(filter(None, notes)))


def _circuit_in(data: bytes, source: str) -> Circuit:
    try:
        return files.read_circuit(data, source)
    except ArtifactError as error:
        try:
            inventories.read_inventory(data, source)
        except ArtifactError:
            raise error from None
        raise ArtifactError(
            f"{source} is no circuit but an inventory of known neurons",
            f"{line_of(['import', source])} --as preset:NAME reads it",
        ) from error


def _as_formatted(session: Session, circuit: Circuit, notes: list[str]) -> Circuit:
    """A foreign file gives its prompt as text, which may have been through the chat template already."""
    from sessions.model.tokens import is_formatted

    if circuit.ids or not is_formatted(session.opened().tokenizer, circuit.prompt.text):
        return circuit
    notes.append("its prompt has been through the chat template already, and is read as it stands")
    return structs.replace(circuit, prompt=structs.replace(circuit.prompt, chat=False))


def _with_target_ids(session: Session, circuit: Circuit, notes: list[str]) -> Circuit:
    """A foreign file gives its target as text: look up the token it is for the open model."""
    from sessions.model.tokens import continuation

    target, tokenizer = circuit.target, session.opened().tokenizer
    if not circuit.prompt.text or not any(token.id == UNKNOWN_ID for token in target.tokens):
        return circuit
    text = "".join(token.text for token in target.tokens)
    found = continuation(tokenizer, session.read(circuit.prompt), text)
    notes += found.notes
    if len(found.tokens) > 1:
        notes.append(f"{text!r} is {len(found.tokens)} tokens; the first stands for it, {found.tokens[0].text!r}")
    target = structs.replace(target, tokens=found.tokens[:1])
    return structs.replace(circuit, target=_against_another(session, circuit.prompt, target, notes))


def _against_another(session: Session, prompt: Prompt, target: Target, notes: list[str]) -> Target:
    """A foreign file gives the difference of two logits, and does not name the other token: it is the strongest other
    one, if the difference is that."""
    from sessions.model.distribution import next_logits
    from sessions.model.tokens import token_text

    if not target.tokens or not target.value:
        return target
    logits = next_logits(session.opened(), session.read(prompt).ids, session.cancel)
    own = target.tokens[0].id
    other = next(each for each in logits.topk(2).indices.tolist() if each != own)
    found, text = float(logits[own] - logits[other]), token_text(session.opened().tokenizer, other)
    if abs(found - target.value) <= _CLOSE * max(1.0, abs(target.value)):
        return structs.replace(target, counterfactual=Token(other, text))
    notes.append(
        f"the file says a difference of {target.value:+.3f}, and to the strongest other token, {text!r}, it is "
        f"{found:+.3f}: the target is taken for the logit of {target.tokens[0].text!r} alone"
    )
    return target
