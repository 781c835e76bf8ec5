"""What the README and the manual show runs as it is shown.

Blocks say by their language what is checked; `docs/adding.md` has the table. The lines of a page run one after another
in one session, as a reader would type them. What the reference shows are the verbs' own examples, which run in
`tests/commands`; the tutorials are written from runs.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import closing
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from commands import library, run, script
from sessions.events import Failed
from sessions.model.opening import OpenModel, adopt
from sessions.past import Held
from sessions.session import Session
from tests.adapters import small
from tests.documents import README, ROOT, CodeBlock, blocks, pages
from tests.families import tiny, tiny_tokenizer
from workbench.lines import Lines

PAGES = tuple(pages())
LANGUAGES = {"wb", "python", "console", "json", "toml", "text"}
#: Pages whose lines train, which takes minutes on smollm2.
TINY = ("docs/howto/rounds.md",)
TEXAS = ("prompt What is the capital of Texas?", "seed The capital of Texas is", 'discover " Austin"')
#: Columns of the outputs that the README shows.
WIDTH = 80


def of_language(language: str) -> list[CodeBlock]:
    return [block for page in PAGES for block in blocks(page, language)]


def test_every_block_names_a_language_that_is_checked() -> None:
    found = [block for page in PAGES for block in blocks(page)]
    assert {block.language for block in found} == LANGUAGES
    assert "```" not in "".join(block.body for block in found)


def test_the_readme_is_a_first_look() -> None:
    text = README.read_text("utf-8")
    assert len(text.splitlines()) <= 200
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)\s]*)?\)", text)
    assert len(targets) > 20
    assert [target for target in targets if not (ROOT / target).exists()] == []


# ---- lines of commands


def lines_run(session: Session, lines: Iterator[str] | tuple[str, ...]) -> None:
    for line in lines:
        assert not [event for event in run(session, line) if isinstance(event, Failed)], line


@pytest.fixture(scope="module")
def texas(tmp_path_factory: pytest.TempPathFactory, constants: Path, smollm2: OpenModel) -> Held:
    """The prompt and the circuit that pages speak of, found once in each test process."""
    constants.mkdir(exist_ok=True)
    home = tmp_path_factory.mktemp("texas")
    (home / "universal").symlink_to(constants, target_is_directory=True)
    with closing(Session(home)) as session:
        session.model = smollm2
        lines_run(session, TEXAS)
        return session.held()


def write_files(session: Session) -> None:
    """The files that blocks of commands speak of, in the working folder: a few lines of each."""
    for name, source in (("agreement", "discover"), ("held-out", "test")):
        lines = (library.FOLDER / f"agreement-{source}.jsonl").read_text("utf-8").splitlines(True)
        Path(f"{name}.jsonl").write_text("".join(lines[:4]), encoding="utf-8")
    versions = ({"en": "Three plus four?", "zh": "三加四等于几？"}, {"en": "Name a colour.", "zh": "说一种颜色。"})
    Path("prompts.jsonl").write_text("\n".join(map(json.dumps, versions)), encoding="utf-8")
    Path("tasks.jsonl").write_text('{"prompt": "What is the capital of Texas?", "answer": "Austin"}', encoding="utf-8")
    Path("lessons.jsonl").write_text('{"prompt": "the cat", "reply": "a hat"}\n', encoding="utf-8")
    pairs = (("Texas", "Florida", " Austin", " Miami"), ("Italy", "France", " Rome", " Paris"))
    records = (
        {"prompt": f"The capital of {clean} is", "corrupt": f"The capital of {corrupt} is", "target": target}
        | {"counterfactual": other, "raw": True}
        for clean, corrupt, target, other in pairs
    )
    Path("pairs.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    shutil.copytree(library.FOLDER / "smollm2-sae", "my-sae")
    for seed, name in enumerate(("fr", "es")):
        small(Path(f"{name}-peft"), session.opened(), seed=seed)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "wb")])
def test_the_commands_of_a_page_run(
    page: str, request: pytest.FixtureRequest, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its blocks run in one session, which has a model, a prompt and a circuit."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    with closing(Session(knowing, journal="default")) as session:
        if page in TINY:
            session.model = adopt(tiny("llama"), tiny_tokenizer(), name="tiny")
            lines_run(session, ("prompt the cat", "discover a --top 20 --keep-universal"))
        else:
            session.model = request.getfixturevalue("smollm2")
            lines_run(session, (*TEXAS[:-1], f"{TEXAS[-1]} --no-verify"))
            session.hold(request.getfixturevalue("texas"))  # with the effects, which take longer
        write_files(session)
        lines_run(session, ("set max_tokens 4",))
        for block in blocks(page, "wb"):
            path = Path(f"line-{block.line}.wb")
            path.write_text(block.body, encoding="utf-8")
            values = dict.fromkeys(set(re.findall(r"\$\{(\w+)\}", block.body)), "smollm2")
            failed = [event for event in played(session, path, values) if isinstance(event, Failed)]
            assert failed == [], block


def played(session: Session, path: Path, values: dict[str, str]) -> Iterator[Any]:
    try:
        yield from script.play(session, path, values)
    except script.ScriptStopped:
        return


@pytest.mark.parametrize("page", [page for page in PAGES if "wb> " in "".join(b.body for b in blocks(page, "console"))])
def test_lines_say_what_is_shown_below_them(
    page: str, texas: Held, knowing: Path, smollm2: OpenModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers and bars may be others on another machine; words, signs and the order of lines are not."""
    with closing(Session(knowing)) as session:
        session.model = smollm2
        lines_run(session, ("set max_tokens 24",))
        for block in blocks(page, "console"):
            for line, shown in transcript(block):
                out = StringIO()
                with closing(Lines(Console(file=out, width=WIDTH, markup=False, highlight=False))) as lines:
                    for event in run(session, line):
                        lines.show(event)
                actual = iter(map(worded, out.getvalue().splitlines()))
                missing = [each for each in map(worded, shown) if not any(there.startswith(each) for there in actual)]
                assert missing == [], f"{block}: {line}\n{out.getvalue()}"


def transcript(block: CodeBlock) -> Iterator[tuple[str, list[str]]]:
    """The lines that are typed in a block, each with what is shown below it."""
    for part in ("\n" + block.body).split("\nwb> ")[1:]:
        line, *shown = part.splitlines()
        yield line, shown


def worded(line: str) -> str:
    """A line without what differs from machine to machine: digits, bars, blanks, and where a text is cut."""
    line = re.sub(r"[█▉▊▋▌▍▎▏]+", " ", line).partition("…")[0]
    return " ".join(re.sub(r"\d[\d.,e-]*", "#", line).split())


# ---- Python


@pytest.mark.parametrize("block", [each for each in of_language("python") if not each.title], ids=str)
def test_python_blocks_run(block: CodeBlock, knowing: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each by itself, in a module of its own; that a fresh interpreter has what they import is said in test_cli."""
    monkeypatch.chdir(tmp_path)
    exec(compile(block.body, str(block), "exec", dont_inherit=True), {"__name__": "__main__"})


@pytest.mark.parametrize("block", [each for each in of_language("python") if each.title], ids=str)
def test_excerpts_are_in_their_files(block: CodeBlock) -> None:
    """Line by line, in order. What follows … in a line is left out, and a line of … stands for some."""
    file = iter((ROOT / block.title).read_text("utf-8").splitlines())
    for line in filter(None, map(str.rstrip, block.body.splitlines())):
        kept, left_out, _ = line.partition("…")
        if kept.strip():
            assert any(there.startswith(kept.rstrip()) if left_out else there == line for there in file), line


# ---- other blocks


def shown_commands() -> list[str]:
    lines = [line for block in of_language("console") for line in block.body.splitlines()]
    return sorted({line.removeprefix("$ ") for line in lines if line.startswith("$ workbench")})


@pytest.mark.parametrize("command", shown_commands())
def test_options_of_shown_commands_exist(command: str) -> None:
    """Shown invocations name real subcommands and options; the main one is run by `make demo`."""
    from workbench.cli import main as cli

    words = shlex.split(command.partition(" #")[0].partition(" >")[0].partition(" |")[0])[1:]
    group: Any = cli
    context = group.make_context("workbench", list(words), resilient_parsing=True)
    subcommand, rest = group, words
    if words and not words[0].startswith("--"):
        name, subcommand, rest = group.resolve_command(context, words)
        assert name in group.commands
    known = {option for param in subcommand.get_params(context) for option in param.opts}
    assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known


@pytest.mark.parametrize("block", of_language("json"), ids=str)
def test_shown_json_can_be_read(block: CodeBlock) -> None:
    """A block is one object, or one on each line."""
    one = block.body.startswith("{\n")
    assert all(isinstance(json.loads(text), dict) for text in ([block.body] if one else block.body.splitlines()))


@pytest.mark.parametrize("block", of_language("toml"), ids=str)
def test_shown_preferences_are_understood(block: CodeBlock, tmp_path: Path) -> None:
    from workbench.app import preferences
    from workbench.app.bindings import by_id
    from workbench.app.shell import Shell
    from workbench.app.themes import THEMES

    told = tomllib.loads(block.body)
    (tmp_path / preferences.FILE).write_text(block.body, encoding="utf-8")
    read = preferences.read(tmp_path, by_id(Shell.keyed().values()))
    assert read.theme == told["theme"] in THEMES and read.mouse == told["mouse"]
    assert {name: keys for name, keys in read.keys.items() if name in told["keys"]} == told["keys"]


# ---- the site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The manual, built as `make docs` builds it: a link that leads nowhere is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    quiet = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    return folder


def test_every_page_is_in_the_manual(site: Path) -> None:
    sources = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert {path for path in sources if not (site / path).exists()} == set()


def test_the_manual_asks_no_other_host_for_anything(site: Path) -> None:
    """Links may lead elsewhere; what a browser fetches by itself may not."""
    fetched = re.compile(r'(?:\bsrc|<link\b[^>]*\bhref|\bsrcset|\bposter|\bdata)="((?:https?:)?//[^"]*)"')
    styled = re.compile(r"(?:url\(|@import\s*)[\"']?((?:https?:)?//[^\"')]*)")
    for path in (*site.rglob("*.html"), *site.rglob("*.svg")):
        text = path.read_text("utf-8")
        assert fetched.findall(text) + styled.findall(text) == [], path.name
        assert 'class="mermaid"' not in text, "its script comes from another host"
    assert [path.name for path in site.rglob("*.css") if styled.search(path.read_text("utf-8"))] == []
