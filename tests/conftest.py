"""Fixtures: the embedded models, opened once in each test process, and homes that nothing else uses."""

from __future__ import annotations

import gc
import os

if "PYTEST_XDIST_WORKER" in os.environ:  # several at once: a thread each, in their hosts as well, before torch counts
    os.environ["OMP_NUM_THREADS"] = "1"

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import platformdirs
import pytest

if TYPE_CHECKING:
    from sessions.model.opening import OpenModel
    from sessions.session import Session


hypothesis.settings.register_profile("workbench", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("workbench")


def models_folder() -> Path:
    """Where the embedded models are kept from one test run to the next: $WORKBENCH_TEST_MODELS, or the user's own."""
    chosen = os.environ.get("WORKBENCH_TEST_MODELS")
    return Path(chosen) if chosen else Path(platformdirs.user_data_dir("workbench", appauthor=False)) / "models"


def _opened(name: str) -> OpenModel:
    import torch

    from sessions.events import finished
    from sessions.model.opening import open_model

    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
    return finished(open_model(name, models=models_folder(), dtype="float32", device="cpu"))


@pytest.fixture(scope="session")
def smollm2() -> OpenModel:
    """SmolLM2-135M-Instruct in float32."""
    return _opened("smollm2")


@pytest.fixture(scope="session")
def gemma3() -> OpenModel:
    """Gemma 3 270M (base) in float32."""
    return _opened("gemma3-270m")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home, the one that WORKBENCH_HOME names, in which the embedded models are there already."""
    folder = tmp_path / "home"
    folder.mkdir()
    models_folder().mkdir(parents=True, exist_ok=True)
    (folder / "models").symlink_to(models_folder(), target_is_directory=True)
    monkeypatch.setenv("WORKBENCH_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def constants(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `universal` that homes of smollm2 share: its universal neurons are found once in each test process."""
    return tmp_path_factory.mktemp("shared") / "universal"


@pytest.fixture
def knowing(home: Path, constants: Path) -> Path:
    """A home that knows what an earlier test has found of the embedded models' universal neurons."""
    constants.mkdir(exist_ok=True)
    (home / "universal").symlink_to(constants, target_is_directory=True)
    return home


@pytest.fixture
def session(knowing: Path, smollm2: OpenModel) -> Iterator[Session]:
    """A session in its own home with smollm2 open."""
    from sessions.session import Session

    opened = Session(home=knowing, journal="default")
    opened.model = smollm2
    yield opened
    opened.close()


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A sandbox in which a program has little time."""
    from sessions import sandbox

    sandbox.end()
    monkeypatch.setattr(sandbox, "SECONDS", 0.4)
    yield
    sandbox.end()


def pytest_collection_finish() -> None:
    """What is there before the first test, modules and the tests themselves, is never garbage: collections skip it.

    Many tests collect all garbage, to see that nothing is left. Each such look would go through a million objects.
    """
    gc.collect()
    gc.freeze()
