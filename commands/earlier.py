"""Files of earlier projects, as `import` takes them in: pickles of tensors, configurations of rounds, maxima of an
atlas, inventories of known neurons."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from msgspec import structs

from commands.file_import import FileImport, nameable
from sessions.artifacts import LONGEST_NAME, Key, check_model, now
from sessions.earlier import inventories
from sessions.earlier.maxima import Maxima
from sessions.errors import ArtifactError, ModelError, UsageError
from sessions.files.disk import read_file, write_file
from sessions.interventions.presets import Preset, check_fits
from sessions.loaded_adapters import shelf_of, taken_in
from sessions.results import Exported, FileShown, Saved
from sessions.session import Session

if TYPE_CHECKING:
    from sessions.earlier.published_lora import Lora
    from sessions.earlier.published_round import PublishedRound
    from sessions.edits.edit import Edit

#: Neurons of an atlas's JSON that are shown.
_ROWS = 20


def pickle_imported(session: Session, request: FileImport) -> Saved | FileShown:
    """What a pickle holds, saved as what it can be used as; nothing in it is run."""
    from sessions.earlier.published import Data, Signature, read
    from sessions.earlier.published_lora import Lora
    from sessions.earlier.published_round import PublishedRound

    request.refuse(("layer",), "is for the maxima of an atlas (.json)")
    if request.name is not None and request.name.kind == "means":
        return _means(session, request, request.name)
    request.refuse(("key",), "is for means", "read them with --as means:NAME")
    session.opened()
    contents = read(request.path.expanduser().absolute(), request.top)
    if not isinstance(contents, Signature):
        request.refuse(("beta",), "is for the signature of a neuron")
    if not isinstance(contents, Signature | Lora):
        request.refuse(("alpha",), "is for the signature of a neuron or a LoRA")
    if not isinstance(contents, Preset):
        request.refuse(("top",), "is for differences of activations")
    if isinstance(contents, Data):
        return FileShown(path=str(request.path), entries=contents.entries, left=contents.left)
    if isinstance(contents, Signature):
        given = request.of_pickles
        return _edit(session, request, contents.edit(str(request.path), given.alpha, given.beta))
    if isinstance(contents, Lora):
        return _lora(session, request, contents)
    if isinstance(contents, Preset):
        name = request.named("preset", lambda stem: session.store.free("preset", stem))
        return _preset(session, request, contents, name)
    if isinstance(contents, PublishedRound):
        return _round(session, request, contents)
    return _edit(session, request, contents)


def _edit(session: Session, request: FileImport, edit: Edit) -> Saved:
    name = request.named("edit", lambda stem: session.store.free("edit", stem), "import")
    try:
        with edit.applied(session.opened()):
            pass
    except (UsageError, ModelError, ArtifactError) as error:  # of what the file says, which the user has not typed
        raise ArtifactError(
            f"{request.path} does not fit the open model: {error.message}", "open the model that it was made on"
        ) from error
    key = Key("edit", name)
    path = session.keep_edit(edit, name, request.line_as(key), force=request.force)
    return Saved(name=str(key), path=str(path), notes=(edit.about, f"edits load {name} applies it"))


def _lora(session: Session, request: FileImport, lora: Lora) -> Saved:
    """The factors of a LoRA as an adapter that is kept; it fits the open model."""
    from sessions.adapters.adapter_store import AdapterAbout
    from sessions.adapters.wrapping import plain_modules
    from sessions.edits.adapters import check_fit

    opened, shelf = session.opened(), shelf_of(session)
    modules = {name for name, _ in plain_modules(opened.model)}
    config, weights = lora.as_peft(modules, request.of_pickles.alpha, str(request.path))
    name = request.named("adapter", shelf.free)
    about = AdapterAbout(
        name=name,
        model=opened.info.name,
        fingerprint=opened.info.fingerprint,
        command=request.line_as(Key("circuit", name)),  # an adapter is meant by its name alone
        origin=str(request.path),
    )
    with taken_in(session, name, request.force):
        path = shelf.write(config, weights, about, force=request.force)
        check_fit(shelf.read(name).contents, opened.model, name)
    notes = (f"{len(lora.factors)} projections, rank {config['r']}: adapter load {name} puts it on",)
    return Saved(name=name, path=str(path), notes=notes)


def _preset(session: Session, request: FileImport, preset: Preset, name: str) -> Saved:
    check_fits(preset, name, session.opened().anatomy)
    return request.kept(session, Key("preset", name), preset, f"{len(preset)} neurons: preset {name}")


def _round(session: Session, request: FileImport, trained: PublishedRound) -> Saved:
    """A round without its adapter, and what it held at zero as a preset."""
    from sessions.training.recruits import TOP
    from sessions.training.round import Rounds

    opened, rounds = session.opened(), Rounds(session.store)
    trained.check(opened.anatomy, str(request.path))
    name = rounds.free(request.stem) if request.name is None else request.name.name
    line = request.line_as(Key("circuit", name))  # a round is meant by its name alone
    path = rounds.save(trained.as_round(name, opened.info, line, now()), trained.recruits, None, force=request.force)
    notes = [f"recruits:{name} selects its strongest, suppress recruits:{name}:{TOP} forbids them"]
    suppressed = trained.held_at_zero()
    if suppressed is not None:
        preset = _preset(session, request, suppressed, name).name
        notes.append(f"what it held at zero is {preset}: suppress {preset}")
    return Saved(name=name, path=str(path), notes=tuple(notes))


def _means(session: Session, request: FileImport, key: Key) -> Saved:
    """Mean activations in a pickle, kept as means; they are those of the open model."""
    from sessions.circuits.means import Means, MeansAbout
    from sessions.earlier.published_means import means_in

    opened = session.opened()
    name, layers = means_in(request.path.expanduser().absolute(), request.of_pickles.key)
    means = Means(MeansAbout(over=f"{name} of {request.path.name}"), layers)
    means.check(opened.anatomy)
    return request.kept(session, key, means, f"a reference: discover --reference {key}")


def configuration_imported(session: Session, request: FileImport) -> Exported | Saved:
    """The configuration of rounds as a command file in the session's folder, or a preset of the same project."""
    from commands.script import commands_in
    from sessions.earlier.pipeline import LARGEST, command_file, configuration, contents_of, variables

    path, source = request.path, str(request.path)
    contents = contents_of(read_file(path.expanduser().absolute(), largest=LARGEST), source)
    if isinstance(contents, dict) and "enabled" in contents:
        preset = inventories.inventory_in(contents, source)
        name = request.named("preset", lambda stem: session.store.free("preset", stem))
        return inventory_imported(session, request, preset, Key("preset", name))
    config = configuration(contents, source)
    text = command_file(config, source).encode()
    target = session.folder / f"{path.stem if request.name is None else request.name.name}.wb"
    try:
        commands_in(text, target.name, dict.fromkeys(variables(config), "x"))
    except UsageError as error:
        raise ArtifactError(f"{path} has an invalid command: {error.message}", error.hint) from error
    written = write_file(target.absolute(), text, force=request.force, what=f"'{target}'")
    return Exported(path=str(written), format="wb", notes=("its first lines explain its variables",))


def maxima_imported(session: Session, request: FileImport, maxima: Maxima) -> Saved | FileShown:
    """The neurons in the JSON of an atlas: looked at or, under the name of a preset, kept."""
    path, key = request.path, request.name
    if maxima.says_layers:
        request.refuse(
            ("layer",), "is for a file whose neurons are numbers alone", "leave it out: the file names its layers"
        )
    with_layer = structs.replace(request, layer=None if maxima.says_layers else 12, force=False)
    if key is None or key.kind == "circuit":
        rows = maxima.rows(request.top or _ROWS)
        note = f"{with_layer.line_as(Key('preset', 'NAME'))} keeps them as a selection"
        return FileShown(
            path=str(path),
            entries=rows,
            left=len(maxima.entries) - len(rows),
            notes=(f"maxima of neurons, the strongest first: {note}",),
        )
    if key.kind != "preset":
        raise UsageError(f"{path} holds the maxima of neurons, not a {key.kind}", f"--as preset:{key.name}")
    if request.layer is None and not maxima.says_layers:
        raise UsageError(f"{path} does not name the layer of its neurons", with_layer.line())
    return _preset(session, request, maxima.preset(request.layer, request.top), key.name)


def inventory_imported(session: Session, request: FileImport, preset: Preset, key: Key) -> Saved:
    """Known neurons, saved as a preset; and the presets that their inventory says, each under a name of its own."""
    stated = (preset.more.get(field) for field in ("model", "fingerprint"))
    model, fingerprint = (text if isinstance(text, str) else "" for text in stated)
    within = inventories.presets_within(preset, str(request.path))
    names = {f"{key.name}.{nameable(preset_name)}"[:LONGEST_NAME]: inner for preset_name, inner in within.items()}
    notes = []
    if session.model is not None:
        info = session.model.info
        notes.append(check_model(fingerprint, model, info.fingerprint, info.name, request.force))
        check_fits(preset, key.name, session.model.anatomy)
    if len(names) < len(within):
        raise ArtifactError(
            f"{request.path} has presets whose names are the same once reduced to the characters allowed",
            "rename them there",
        )
    for name in names:
        session.store.check_new("preset", name, request.force)
    about = {"model": model, "fingerprint": fingerprint, "command": request.line_as(key)}
    saved = {key.name: preset, **names}
    paths = [
        session.store.save("preset", name, saved_preset, **about, force=request.force)
        for name, saved_preset in saved.items()
    ]
    notes.append(_about(preset, names))
    return Saved(name=str(key), path=str(paths[0]), notes=tuple(filter(None, notes)))


def _about(preset: Preset, names: Collection[str]) -> str:
    """What an inventory brought with it, and how it is used."""
    remarks = []
    if names:
        more = f" and {len(names) - 1} more: preset list" if len(names) > 1 else ""
        remarks.append(f"its presets are saved too: preset apply {next(iter(names))}{more}")
    if preset.more.get("think_mode") is True:
        remarks.append("it is meant for a model that thinks: say with --thinking on")
    return "; ".join(remarks)
