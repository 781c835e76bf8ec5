"""Lines of every verb for each placement of the model: one device, two devices, partly in CPU memory or on disk.

    python -m benchmarks.placements [--tiny] [--json]

Each placement is a session that runs all lines on smollm2 (with `--tiny` on a random model of four layers). The devices
are simulated (see `tests.accelerator`) and compute on the CPU, so every result must equal that of the session on the
CPU, and times mean nothing. Offloaded weights can be read but not changed: lines that change weights, need all of them
in memory, or use the result of such a line, may be refused there.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, PreTrainedModel

from benchmarks.measuring import THREADS, Figure, Table, report, surroundings
from sessions.events import finished
from sessions.model.embedded import prepared
from sessions.store import Store
from tests.accelerator import material, placements
from tests.accelerator.comparing import Asked, Said, difference, results
from tests.accelerator.material import Line
from tests.accelerator.placements import Placement
from tests.families import tiny, tiny_tokenizer

TEMPLATE = "{{ bos_token }}{% for message in messages %}{{ message['content'] }}. {% endfor %}"


@dataclass(frozen=True)
class Found:
    """The lines that fail in one placement, with their errors, and those whose results differ."""

    placement: Placement
    asked: Asked
    failed: tuple[tuple[str, str], ...]
    differing: tuple[tuple[str, str], ...]
    refused: int


def main() -> None:
    torch.set_num_threads(THREADS)
    with tempfile.TemporaryDirectory() as root:
        figures, tables = measured(Path(root), "--tiny" in sys.argv)
    report("placements", figures, surroundings("float32", "pretended"), tables, ("--tiny",))


def measured(root: Path, small: bool) -> tuple[list[Figure], list[Table]]:
    """The figures and a table of the placements; a second table of wrong lines, if there are any."""
    folder, wording = _tiny(root) if small else (finished(prepared("smollm2", Store().models)), material.CAPITALS)
    plain = placements.opened(folder, placements.CPU)
    material.write(root / "files", wording, plain)
    material.write_adapters(root / "files", lambda: _fresh(folder))
    lines = material.lines(wording, root / "files")
    texts = [line.text for line in lines]
    weights = sum(each.nbytes for each in plain.model.parameters())
    base = results(folder, placements.CPU, texts, root / "cpu")
    found = [
        held_against(lines, base.said, placement, results(folder, placement, texts, root / placement.name))
        for placement in placements.ALL[1:]
    ]
    alone = [(said.line, said.error) for said in base.said if said.failed]
    figures = [Figure("lines that fail on the CPU", len(alone), 0, {})]
    figures += [Figure(f"lines that fail or differ, {each.placement.name}", _wrong(each), 0, {}) for each in found]
    wrong = [("cpu", *pair) for pair in alone]
    wrong += [(each.placement.name, *pair) for each in found for pair in (*each.failed, *each.differing)]
    return figures, [_by_placement(found, len(lines), weights), *_by_line(wrong)]


def held_against(lines: Sequence[Line], there: Sequence[Said], placement: Placement, asked: Asked) -> Found:
    """Compare the results of lines in a placement with those on the CPU."""
    failed, differing, refused = [], [], 0
    for line, one, other in zip(lines, there, asked.said, strict=True):
        if placement.offloads and line.weights and "defect" not in other.error:
            refused += other.failed
        elif other.failed:
            failed.append((line.text, other.error))
        elif not one.failed and (said := difference(one.value, other.value)):
            differing.append((line.text, said))
    return Found(placement, asked, tuple(failed), tuple(differing), refused)


def _wrong(found: Found) -> int:
    return len(found.failed) + len(found.differing)


def _by_placement(found: Sequence[Found], lines: int, weights: int) -> Table:
    rows = [
        (
            each.placement.name,
            str(lines),
            str(len(each.failed)),
            str(len(each.differing)),
            str(each.refused),
            each.asked.waits / lines,
            each.asked.peak / weights,
        )
        for each in found
    ]
    header = ("placement", "lines", "fail", "differ", "refused", "waits a line", "peak / weights")
    return Table("By placement", header, tuple(rows))


def _by_line(wrong: Sequence[tuple[str, str, str]]) -> Iterator[Table]:
    if wrong:
        yield Table("Lines that are wrong", ("placement", "line", "what"), tuple(wrong))


def _tiny(root: Path) -> tuple[Path, material.Wording]:
    folder = root / "tiny"
    tiny("llama", num_hidden_layers=4).save_pretrained(folder)
    tiny_tokenizer(template=TEMPLATE).save_pretrained(folder)
    return folder, material.LETTERS


def _fresh(folder: Path) -> PreTrainedModel:
    model: PreTrainedModel = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    return model


if __name__ == "__main__":
    main()
