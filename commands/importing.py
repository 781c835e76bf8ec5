"""Files of earlier projects, as `import` reads them: pickles of tensors, and configurations of rounds."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from commands.loading import shelf_of, taken_in
from commands.presets import check_neurons
from sessions.earlier import inventories
from sessions.earlier.maxima import Maxima
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.files.disk import read_file, write_file
from sessions.interventions.presets import Known, Preset
from sessions.lines import line_of, with_options
from sessions.model.units import Neuron
from sessions.results import Exported, FileEntry, FileShown, Saved
from sessions.session import Session
from sessions.store import LONGEST_NAME, Key, check_model, now
from sessions.training.findings import Outcome, Plan, Round

if TYPE_CHECKING:
    from sessions.earlier.published import Trained
    from sessions.earlier.published_lora import Lora
    from sessions.edits.edit import Edit

#: Endings of files that torch.save wrote, and of configurations.
PICKLES, CONFIGURATIONS = (".pt", ".pth", ".bin"), (".yaml", ".yml")
#: Neurons of an atlas's JSON that are shown.
_ROWS = 20


def import_published(
    session: Session,
    path: Path,
    key: Key | None,
    force: bool,
    alpha: float | None,
    beta: float | None,
    top: int | None,
) -> Saved | FileShown:
    """What a pickle of an earlier project holds, saved as what it can be used as; nothing in it is run."""
    from sessions.earlier.published import Data, Signature, Trained, read
    from sessions.earlier.published_lora import Lora

    session.opened()
    found = read(path.expanduser().absolute(), top)
    if beta is not None and not isinstance(found, Signature):
        raise UsageError("--beta is for the signature of a neuron", "leave it out")
    if alpha is not None and not isinstance(found, Signature | Lora):
        raise UsageError("--alpha is for the signature of a neuron or a LoRA", "leave it out")
    if top is not None and not isinstance(found, Preset):
        raise UsageError("--top is for differences of activations", "leave it out")
    command = line_of(["import", path], {"--top": top})
    if isinstance(found, Data):
        return FileShown(path=str(path), entries=found.entries, left=found.left)
    if isinstance(found, Signature):
        return _edit(session, found.edit(str(path), alpha, beta), key, path, command, force)
    if isinstance(found, Lora):
        return _lora(session, found, key, path, alpha, force)
    if isinstance(found, Preset):
        return _preset(session, found, _name(session, "preset", key, path), command, force)
    if isinstance(found, Trained):
        return _round(session, found, key, path, command, force)
    return _edit(session, found, key, path, command, force)


def _lora(session: Session, found: Lora, key: Key | None, path: Path, alpha: float | None, force: bool) -> Saved:
    """The factors of a LoRA as an adapter that is kept; it fits the open model."""
    from sessions.adapters.shelf import About
    from sessions.adapters.wrapping import plain_modules
    from sessions.edits.adapters import check_fit

    opened, shelf = session.opened(), shelf_of(session)
    config, weights = found.as_peft({name for name, _ in plain_modules(opened.model)}, alpha, str(path))
    if key is not None:
        _refuse(key, "adapter")
    name = shelf.free(_plain(path.stem) or "import") if key is None else key.name
    about = About(
        name=name,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command=line_of(["import", path], {"--alpha": None if alpha is None else f"{alpha:g}", "--as": name}),
        origin=str(path),
    )
    with taken_in(session, name, force):
        kept = shelf.write(config, weights, about, force=force)
        check_fit(shelf.read(name).contents, opened.model, name)
    notes = (f"{len(found.factors)} projections, rank {config['r']}: adapter load {name} puts it on",)
    return Saved(name=name, path=str(kept), notes=notes)


def import_configuration(session: Session, path: Path, key: Key | None, force: bool) -> Exported | Saved:
    """The configuration of rounds as a command file in the session's folder, or a preset of the same project."""
    from commands.script import commands_in
    from sessions.earlier.pipeline import LARGEST, command_file, configuration, contents_of, variables

    held = contents_of(read_file(path.expanduser().absolute(), largest=LARGEST), str(path))
    if isinstance(held, dict) and "enabled" in held:
        preset = inventories.inventory_in(held, str(path))
        named = Key("preset", _name(session, "preset", key, path))
        return import_inventory(session, preset, named, path, force)
    config = configuration(held, str(path))
    text = command_file(config, str(path)).encode()
    target = session.folder / f"{path.stem if key is None else key.name}.wb"
    try:
        commands_in(text, target.name, dict.fromkeys(variables(config), "x"))
    except UsageError as error:
        raise ArtifactError(f"{path} says what no command does: {error.message}", error.hint) from error
    written = write_file(target.absolute(), text, force=force, what=f"'{target}'")
    return Exported(path=str(written), format="wb", notes=("what its variables stand for is said in its first lines",))


def import_means(session: Session, path: Path, key: Key, which: str | None, force: bool) -> Saved:
    """Mean activations in a pickle of an earlier project, kept as means; they are those of the open model."""
    from sessions.circuits.means import About, Means
    from sessions.earlier.published_means import means_in

    opened = session.opened()
    name, layers = means_in(path.expanduser().absolute(), which)
    found = Means(About(over=f"{name} of {path.name}"), layers)
    found.check(opened.anatomy)
    saved = session.store.save(
        key.kind,
        key.name,
        found,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command=line_of(["import", path], {"--as": key, "--key": which}),
        force=force,
    )
    return Saved(name=str(key), path=str(saved), notes=(f"a reference: discover --reference {key}",))


def import_maxima(
    session: Session, found: Maxima, key: Key | None, path: Path, top: int | None, layer: int | None, force: bool
) -> Saved | FileShown:
    """The neurons in the JSON of an atlas: looked at or, under the name of a preset, kept."""
    if layer is not None and found.says_layers:
        raise UsageError("--layer is for a file whose neurons are numbers alone", "leave it out: it says its layers")
    if key is None or key.kind == "circuit":
        where = {"--as": "preset:NAME", "--layer": None if found.says_layers else 12}
        return FileShown(path=str(path), **_outlined(found, top), notes=(_kept_by(path, where),))
    if key.kind != "preset":
        raise UsageError(f"{path} holds the maxima of neurons, no {key.kind}", f"--as preset:{key.name}")
    if layer is None and not found.says_layers:
        raise UsageError(
            f"{path} does not say of which layer its neurons are",
            line_of(["import", path], {"--as": key, "--layer": 12}),
        )
    command = line_of(["import", path], {"--top": top, "--layer": layer})
    return _preset(session, found.preset(layer, top), key.name, command, force)


def _outlined(found: Maxima, top: int | None) -> dict[str, Any]:
    """The strongest of them, a row each."""
    shown = found.entries[: top or _ROWS]
    rows = tuple(
        FileEntry(
            key=str(index) if layer is None else str(Neuron(layer, index)),
            kind=f"{entry.activation_score:.4g}",
            about=f"at {entry.trigger_token!r}, text {entry.text_index:,}, position {entry.token_position:,}",
        )
        for layer, index, entry in shown
    )
    return {"entries": rows, "left": len(found.entries) - len(rows)}


def _kept_by(path: Path, options: Mapping[str, object]) -> str:
    return f"maxima of neurons, the strongest first: {line_of(['import', path], options)} keeps them as a selection"


def import_inventory(session: Session, preset: Preset, key: Key, path: Path, force: bool) -> Saved:
    """Known neurons, saved as a preset; and the presets that their inventory says, each under a name of its own."""
    stated = (preset.more.get(each) for each in ("model", "fingerprint"))
    model, fingerprint = (text if isinstance(text, str) else "" for text in stated)
    within = inventories.presets_within(preset, str(path))
    names = {f"{key.name}.{_plain(each)}"[:LONGEST_NAME]: held for each, held in within.items()}
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(fingerprint, model, info.fingerprint, info.name, force))
        check_neurons(session, key.name, preset)
    taken = next((each for each in names if each in session.store.names("preset")), None)
    if len(names) < len(within):
        raise ArtifactError(
            f"{path} has presets whose names differ in nothing that a name may have", "rename them there"
        )
    if taken is not None and not force:
        raise ArtifactError(f"preset '{taken}' exists already", "replace it with --force, or choose another name")
    paths = [
        session.store.save(
            "preset",
            name,
            held,
            model=model,
            fingerprint=fingerprint,
            command=line_of(["import", path], {"--as": key}),
            force=force,
        )
        for name, held in ((key.name, preset), *names.items())
    ]
    notes.append(_about(preset, names))
    return Saved(name=str(key), path=str(paths[0]), notes=tuple(filter(None, notes)))


def _about(preset: Preset, names: Collection[str]) -> str:
    """What an inventory brought with it, and how it is used."""
    said = []
    if names:
        more = f" and {len(names) - 1} more: preset list" if len(names) > 1 else ""
        said.append(f"what it says to use together is saved too: preset apply {next(iter(names))}{more}")
    if preset.more.get("think_mode") is True:
        said.append("it is meant for a model that thinks: say with --thinking on")
    return "; ".join(said)


def _edit(session: Session, edit: Edit, key: Key | None, path: Path, command: str, force: bool) -> Saved:
    _refuse(key, "edit")
    name = session.store.free("edit", "import") if key is None else key.name
    try:
        with edit.applied(session.opened()):
            pass
    except (UsageError, ModelError, ArtifactError) as error:  # of what the file says, which the user has not typed
        raise ArtifactError(
            f"{path} does not fit the open model: {error.message}", "open the model that it was made on"
        ) from error
    kept = session.keep_edit(edit, name, with_options(command, {"--as": f"edit:{name}"}), force=force)
    return Saved(name=f"edit:{name}", path=str(kept), notes=(edit.about, f"edits load {name} applies it"))


def _preset(session: Session, preset: Preset, name: str, command: str, force: bool) -> Saved:
    check_neurons(session, name, preset)
    info = session.opened().info
    path = session.store.save(
        "preset",
        name,
        preset,
        model=info.name,
        fingerprint=info.fingerprint,
        command=with_options(command, {"--as": f"preset:{name}"}),
        force=force,
    )
    return Saved(name=f"preset:{name}", path=str(path), notes=(f"{len(preset)} neurons: preset {name}",))


def _round(session: Session, found: Trained, key: Key | None, path: Path, command: str, force: bool) -> Saved:
    """A round without its adapter, and what it held at zero as a preset."""
    from sessions.training.recruits import TOP
    from sessions.training.round import Rounds

    opened, recruits = session.opened(), found.recruits
    for layer, scores in recruits.scores["gradient"].items():
        opened.anatomy.check_layer(layer)
        width = opened.anatomy.layers[layer].width
        if len(scores) != width:
            raise ArtifactError(
                f"{path} has {len(scores):,} neurons in layer {layer}, and this model has {width:,} there",
                "open the model it was trained on",
            )
    for neuron in recruits.suppressed:
        try:
            opened.anatomy.check(*neuron.site)
        except UsageError as error:
            raise ArtifactError(
                f"{path} held {neuron} at zero, which this model lacks: {error.message}",
                "open the model it was trained on",
            ) from error
    rounds = Rounds(session.store)
    name = _name(session, "round", key, path)
    losses = list(found.losses.values()) or [(0.0, 0.0)]
    info = opened.info
    imported = Round(
        name=name,
        model=info.name,
        fingerprint=info.fingerprint,
        command=with_options(command, {"--as": name}),
        created=now(),
        seconds=0.0,
        versions={},
        plan=Plan(modules=()),
        data="",
        samples=tuple(found.losses) or ("unknown",),
        suppressed=recruits.suppressed,
        outcome=Outcome(initial=tuple(each[0] for each in losses), final=tuple(each[-1] for each in losses), curve=()),
        recruited=recruits.strongest(TOP),
        config={},
    )
    saved = rounds.save(imported, recruits, None, force=force)
    notes = [f"recruits:{name} selects its strongest, suppress recruits:{name}:{TOP} forbids them"]
    if recruits.suppressed:
        held = tuple(
            Known(id=str(neuron), layer=neuron.layer, index=neuron.index, gain=0.0, mode="hold")
            for neuron in recruits.suppressed
        )
        kept = _preset(session, Preset(neurons=held), name, command, force)
        notes.append(f"what it held at zero is {kept.name}: suppress preset:{name}")
    return Saved(name=name, path=str(saved), notes=tuple(notes))


def _name(session: Session, kind: str, key: Key | None, path: Path) -> str:
    """The name that was given, or one after the file's."""
    if key is not None:
        if kind != "round":
            _refuse(key, kind)
        return key.name
    stem = _plain(path.stem)
    if kind == "round":
        from sessions.training.round import Rounds

        return Rounds(session.store).free(stem or "import")
    return session.store.free(kind, stem or "import")


def _plain(text: str) -> str:
    """What of a text may stand in a name."""
    return "".join(each for each in text if each.isascii() and (each.isalnum() or each in "._-")).strip("-._")


def _refuse(key: Key | None, kind: str) -> None:
    if key is not None and key.kind not in (kind, "circuit"):
        raise UsageError(f"the file holds a {kind}, no {key.kind}", f"--as {kind}:{key.name}")
