"""Files of earlier projects, as `import` reads them: pickles of tensors, and configurations of rounds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from commands.presets import check_neurons
from sessions.disk import read_file, write_file
from sessions.errors import ArtifactError, UsageError
from sessions.interventions.presets import Known, Preset
from sessions.lines import line_of, with_options
from sessions.results import Exported, Saved
from sessions.session import Session
from sessions.store import Key, now
from sessions.training.findings import Outcome, Plan, Round

if TYPE_CHECKING:
    from sessions.edits.edit import Edit
    from sessions.edits.published import Trained

#: Endings of files that torch.save wrote, and of configurations.
PICKLES, CONFIGURATIONS = (".pt", ".pth", ".bin"), (".yaml", ".yml")


def import_published(
    session: Session, path: Path, key: Key | None, force: bool, alpha: float | None, beta: float | None
) -> Saved:
    """What a pickle of an earlier project holds, saved as what it can be used as; nothing in it is run."""
    from sessions.edits.published import Signature, Trained, read

    session.opened()
    found = read(path.expanduser().absolute())
    if not isinstance(found, Signature) and (alpha is not None or beta is not None):
        raise UsageError("--alpha and --beta are for the signature of a neuron", "leave them out")
    command = line_of(["import", path])
    if isinstance(found, Signature):
        return _edit(session, found.edit(str(path), alpha, beta), key, command, force)
    if isinstance(found, Preset):
        return _preset(session, found, _name(session, "preset", key, path), command, force)
    if isinstance(found, Trained):
        return _round(session, found, key, path, command, force)
    return _edit(session, found, key, command, force)


def import_configuration(session: Session, path: Path, key: Key | None, force: bool) -> Exported:
    """The configuration of rounds as a command file, beside the session's other files."""
    from commands.script import commands_in
    from sessions.training.pipeline import command_file, read, variables

    config = read(read_file(path.expanduser().absolute()), str(path))
    text = command_file(config, str(path)).encode()
    target = session.folder / f"{path.stem if key is None else key.name}.wb"
    try:
        commands_in(text, target.name, dict.fromkeys(variables(config), "x"))
    except UsageError as error:
        raise ArtifactError(f"{path} says what no command does: {error.message}", error.hint) from error
    written = write_file(target.absolute(), text, force=force, what=f"'{target}'")
    return Exported(path=str(written), format="wb", notes=("what its variables stand for is said in its first lines",))


def _edit(session: Session, edit: Edit, key: Key | None, command: str, force: bool) -> Saved:
    _refuse(key, "edit")
    name = session.store.free("edit", "import") if key is None else key.name
    path = session.keep_edit(edit, name, with_options(command, {"--as": f"edit:{name}"}), force=force)
    return Saved(name=f"edit:{name}", path=str(path), notes=(edit.about, f"edits load {name} applies it"))


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
    stem = "".join(each for each in path.stem if each.isascii() and (each.isalnum() or each in "._-")).strip("-._")
    if kind == "round":
        from sessions.training.round import Rounds

        return Rounds(session.store).free(stem or "import")
    return session.store.free(kind, stem or "import")


def _refuse(key: Key | None, kind: str) -> None:
    if key is not None and key.kind not in (kind, "circuit"):
        raise UsageError(f"the file holds a {kind}, no {key.kind}", f"--as {kind}:{key.name}")
