"""What a line says does not depend on where the model lies; where it cannot be said, that is said by name."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM

from sessions.session import Session
from tests.accelerator import material, placements
from tests.accelerator.comparing import Said, difference, results
from tests.accelerator.placements import Placement
from tests.commands.conftest import TEMPLATE
from tests.commands.driving import result
from tests.families import tiny, tiny_tokenizer

#: How every session begins.
SETTING = ("set", "prompt", "seed")
#: Each with whether the head is the embedding, which then stays on the first device while the last layer is on the
#: second; and with the lines that are run there, by how they begin.
PLACES: dict[str, tuple[Placement, bool, tuple[str, ...]]] = {
    "two devices": (placements.TWO, True, ("",)),
    "no float64": (placements.NARROW, False, (*SETTING, "discover", "contrast", "vector", "compare", "atlas")),
    "offloaded": (placements.ON_DISK, False, (*SETTING, "top", "discover", "neuron", "verify", "edges", "ablate")),
    "cpu and disk": (placements.ALL_ON_DISK, True, ("",)),
}


@dataclass(frozen=True)
class Ground:
    """A tiny model in a folder, lines about it, and what they say on the CPU."""

    folder: Path
    lines: tuple[material.Line, ...]
    said: tuple[Said, ...]


@pytest.fixture(scope="module")
def grounds(tmp_path_factory: pytest.TempPathFactory) -> dict[bool, Ground]:
    """One with the head tied to the embedding, one without."""
    return {tied: ground(tmp_path_factory.mktemp("tied" if tied else "apart"), tied) for tied in (True, False)}


def ground(root: Path, tied: bool) -> Ground:
    folder, files = root / "tiny", root / "files"
    changed: dict[str, Any] = {"num_hidden_layers": 4, "tie_word_embeddings": tied}
    tiny("llama", **changed).save_pretrained(folder)
    tiny_tokenizer(template=TEMPLATE).save_pretrained(folder)
    material.write(files, material.LETTERS, placements.opened(folder, placements.CPU))
    material.write_adapters(files, lambda: tiny("llama", **changed))
    lines = tuple(line for line in material.lines(material.LETTERS, files) if line.chosen)
    return Ground(folder, lines, run(folder, placements.CPU, lines, root / "cpu"))


def run(folder: Path, placement: Placement, lines: tuple[material.Line, ...], work: Path) -> tuple[Said, ...]:
    return results(folder, placement, [line.text for line in lines], work).said


@pytest.mark.parametrize("place", PLACES)
def test_lines_say_the_same_wherever_the_model_lies(grounds: dict[bool, Ground], place: str, tmp_path: Path) -> None:
    placement, tied, beginnings = PLACES[place]
    ground = grounds[tied]
    pairs = [pair for pair in zip(ground.lines, ground.said, strict=True) if pair[0].text.startswith(beginnings)]
    found = run(ground.folder, placement, tuple(line for line, _ in pairs), tmp_path / "work")
    wrong = []
    for (line, there), here in zip(pairs, found, strict=True):
        assert not there.failed, there
        if placement.offloads and line.weights:  # they need weights, or speak of what needed them
            wrong += [f"{line.text}: {here.error}"] if "defect" in here.error else []
        elif here.failed:
            wrong.append(f"{line.text}: {here.error}")
        elif said := difference(there.value, here.value):
            wrong.append(f"{line.text}: {said}")
    assert not wrong


#: What changes weights where they lie, or computes with gradients of all of them.
NEEDS_WEIGHTS = ("rewrite", "surgery", "export", "adapter", "train-round")


def test_what_needs_weights_in_memory_is_refused_by_the_name_of_one_that_is_not(
    grounds: dict[bool, Ground], tmp_path: Path
) -> None:
    ground = grounds[False]
    needing = (line for line in ground.lines if line.weights and line.text.startswith(NEEDS_WEIGHTS))
    lines = tuple(line for line in needing if "round:" not in line.text)
    assert {line.text.split()[0] for line in lines} == set(NEEDS_WEIGHTS)
    found = run(ground.folder, placements.ON_DISK, lines, tmp_path / "work")
    assert all("offloaded" in said.error and "layer" in said.error for said in found), found


def test_a_model_over_two_devices_is_exported_without_a_second_copy_of_it(
    grounds: dict[bool, Ground], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    with placements.machine(placements.TWO) as meter:
        assert meter is not None
        session = Session(tmp_path / "home")
        session.use_model(placements.opened(grounds[False].folder, placements.TWO))
        meter.clear()
        held = dict(meter.held)
        caplog.clear()
        assert result(session, "export out --model").reopened
        assert all(meter.peak[device] < 1.5 * size for device, size in held.items()) and len(held) == 2
        assert not caplog.records  # of what was read from the disk to be compared
        session.close()
    plain, again = (AutoModelForCausalLM.from_pretrained(path).state_dict() for path in (grounds[False].folder, "out"))
    assert plain.keys() == again.keys() and all(torch.equal(again[name], value) for name, value in plain.items())
