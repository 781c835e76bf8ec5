"""The first steps that an empty screen shows end in a good result."""

from __future__ import annotations

from pathlib import Path

from sessions.results import Compared, Discovered
from sessions.session import Session
from tests.commands.driving import result
from tests.conftest import models_folder
from workbench.app.first_steps import FIRST, IN_SHORT


def test_the_first_steps_find_neurons_without_which_the_answer_is_another(tmp_path: Path, constants: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "models").symlink_to(models_folder(), target_is_directory=True)
    (home / "universal").symlink_to(constants, target_is_directory=True)
    session = Session(home)
    values = [result(session, line) for line, _ in FIRST]
    session.close()
    found, compared = values[-2:]
    assert isinstance(found, Discovered) and found.agreement is not None and found.agreement.pearson > 0.9
    assert isinstance(compared, Compared)
    baseline, ablated = compared.arms
    assert baseline.text.strip().startswith("Austin") and not ablated.text.strip().startswith("Austin")


def test_the_short_form_has_every_line() -> None:
    assert IN_SHORT.split(" · ") == [line for line, _ in FIRST]
