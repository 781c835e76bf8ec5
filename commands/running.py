"""`run`: a line becomes a stream of events; the session survives whatever fails."""

from __future__ import annotations

import re
import traceback
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from time import perf_counter
from typing import TYPE_CHECKING, Any

from msgspec import structs, to_builtins

from commands.grammar import VERBS, Call, parse
from commands.permitting import check_permitted
from sessions import memory
from sessions.cancel import looking_at
from sessions.errors import ArtifactError, Cancelled, NotFinite, UsageError, WorkbenchError
from sessions.events import Event, Failed, Result, Started, Steps, Value
from sessions.files.disk import make_folder
from sessions.files.json_text import infinite
from sessions.journal import Record
from sessions.model.native import is_panic, said_by
from sessions.results import Expected, Help, Ran
from sessions.session import Session
from sessions.versions import versions

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def run(session: Session, line: str, *, where: str = "") -> Generator[Event, None, None]:
    """Run one line in a session.

    Yields `Started` (its verb empty where the line is none), what the verb has to say, then `Result` or
    `Failed`, and `State` if the session changed. Errors become `Failed`: nothing is raised but what closes the
    generator (which unwinds every hook), and after a failure the session is as it was. The finished command
    is journalled.

    Args:
        where: file and line number, where the line comes from a file.
    """
    if not session.files:  # a command inside a command file is cancelled with the file
        session.cancel.clear()
    before, start = session.state(), perf_counter()
    held, past = session.held(), session.past
    edits = session.edit_names()
    past.notice(held, edits, session.undone_names())
    moves = past.moves
    call = _understood(line, where)
    if isinstance(call, Failed):
        yield Started("", line, where)
        yield _journalled(session, None, line, call)
        return
    outcome: Result | Failed
    lacking = False  # of memory
    try:
        yield Started(call.verb, line, where)
        check_permitted(call.request, session.permits)
        with session.suppressing() as suppression:
            value = yield from _stoppable(session, VERBS[call.verb].steps(session, call.request))
        _refuse_infinite(value)
        outcome = Result(value, perf_counter() - start)
        if suppression is not None and suppression.met:
            outcome = with_remark(outcome, suppression.remark)
        if session.model is not None and session.model.info.decoding == "compiled":
            outcome = _with_decoding(outcome, session.model.model)
        _remember(session, VERBS[call.verb].head, value)
        if past.moves == moves:  # it is no undo, and no file, whose lines were remembered one by one
            applied = tuple(name for name in session.edit_names() if name not in edits)
            past.record(line, held, session.held(), applied)
    except WorkbenchError as error:
        lacking = memory.is_lacking(error)
        # Only the grammar's columns are the line's; a verb's are those of a word, or of another file.
        outcome = Failed(error.kind, error.message, error.hint, where, None, perf_counter() - start)
    except KeyboardInterrupt:
        outcome = Failed(Cancelled.kind, "cancelled", "", where, None, perf_counter() - start)
    except Exception as error:
        lacking = memory.is_lacking(error)
        seconds = perf_counter() - start
        outcome = _too_large(call, error, where, seconds) if lacking else _defect(session, error, line, where, seconds)
        if lacking:
            memory.let_go(error)
    except BaseException as error:
        if not (is_panic(error) or isinstance(error, SystemExit)):
            raise
        outcome = _ended_by_others(error, where, perf_counter() - start)
    if lacking:
        memory.give_back()
    yield _journalled(session, call, line, outcome)
    after = session.state()
    if after != before:
        yield after


def _with_decoding(outcome: Result | Failed, model: PreTrainedModel) -> Result | Failed:
    """The outcome, with a remark if a text was generated without the compiled step for a reason not told before."""
    from sessions.model.compiling import compiled_decoding

    compiled = compiled_decoding(model)
    if compiled is None or not compiled.remark:
        return outcome
    remark, compiled.remark = compiled.remark, ""
    return with_remark(outcome, remark)


def _remember(session: Session, verb: str, value: Value) -> None:
    """Keep a result for `expect`; those that only look at the session, or run other lines, are not kept."""
    if not isinstance(value, Expected | Ran | Help):
        for key in (verb, "result"):
            session.results[key].append(value)


def _understood(line: str, where: str) -> Call | Failed:
    try:
        return parse(line)
    except UsageError as error:
        return Failed(error.kind, error.message, error.hint, where, error.column)


def _refuse_infinite(value: Any) -> None:
    """Raise `NotFinite` for a result with a number that is none: JSON cannot say it, and nobody could use it.

    What computes numbers says where they end before it comes to this.
    """
    wrong = infinite(value)
    if wrong:
        hint = "use a smaller scale, gain or multiplier"
        raise NotFinite(f"the result holds a number that is not finite: {wrong}", hint)


def _stoppable(session: Session, steps: Steps[Any]) -> Steps[Any]:
    """The events of a verb; between them the cancel flag is looked at. Whatever happens, it is closed.

    A verb is cancelled where it stands, so that one whose work is worth something half done can keep it.
    """
    files = session.files
    with closing(steps):
        while True:
            try:
                try:
                    if session.files == files:  # the commands of a file look for themselves
                        session.cancel.look()
                except Cancelled as cancelled:
                    event = steps.throw(cancelled)
                else:
                    with looking_at(session.cancel):
                        event = next(steps)
            except StopIteration as stop:
                return stop.value
            yield event


def _journalled(session: Session, call: Call | None, line: str, outcome: Result | Failed) -> Result | Failed:
    """The outcome, written down. Where the journal cannot be written, the outcome says so once."""
    if session.journal is None:
        return outcome
    info = None if session.model is None else session.model.info
    record = Record(
        line=line,
        verb="" if call is None else call.verb,
        arguments={} if call is None else {name: _plain(value) for name, value in call.params.items()},
        outcome="result" if isinstance(outcome, Result) else "failed",
        value=to_builtins(outcome.value) if isinstance(outcome, Result) else to_builtins(outcome),
        seconds=outcome.seconds,
        rng=session.settings.rng,
        time=datetime.now(UTC).isoformat(timespec="seconds"),
        versions=versions(),
        model="" if info is None else info.name,
        fingerprint="" if info is None else info.fingerprint,
        author=session.author,
        resolved="" if call is None else call.request.line(),
    )
    try:
        session.journal.append(record)
    except ArtifactError as error:
        return with_remark(outcome, f"{error.message}; {error.hint}")
    return outcome


def with_remark(outcome: Result | Failed, remark: str) -> Result | Failed:
    """The outcome with one more remark."""
    if isinstance(outcome, Result):
        value = structs.replace(outcome.value, notes=(*outcome.value.notes, remark))
        return structs.replace(outcome, value=value)
    return structs.replace(outcome, hint=f"{outcome.hint}; {remark}" if outcome.hint else remark)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value if isinstance(value, int | float | bool | None) else str(value)


#: How torch says how much it was asked for.
_ALLOCATED = re.compile(r"[Tt]ried to allocate ([\d.,]+ \w+)")


def _too_large(call: Call, error: Exception, where: str, seconds: float) -> Failed:
    """A command that did not fit into memory, which the user can solve."""
    batched = any(
        "--batch" in param.opts and "at once" in getattr(param, "help", "") for param in VERBS[call.verb].params
    )
    asked = _ALLOCATED.search(str(error))
    message = "there is not enough memory for this" + (f": it takes {asked[1]} more" if asked else "")
    hint = f"{'a smaller --batch (1 takes least), ' if batched else ''}a shorter prompt or --dtype bfloat16 needs less"
    hint += "; --device-map auto spreads the model over all devices"
    return Failed("memory", message, hint, where, None, seconds)


def _defect(session: Session, error: Exception, line: str, where: str, seconds: float) -> Failed:
    """An unforeseen error, whose trace goes to a log."""
    log = session.home / "defects.log"
    try:
        make_folder(session.home)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as file:
            file.write(f"--- {datetime.now(UTC).isoformat()} {line}\n{traceback.format_exc()}\n")
        hint = f"this is a defect of the workbench; the session goes on, and the trace is in {log}"
    except OSError:
        hint = "this is a defect of the workbench; the session goes on"
    return Failed("defect", f"{type(error).__name__}: {error}", hint, where, None, seconds)


def _ended_by_others(error: BaseException, where: str, seconds: float) -> Failed:
    """A panic of a library, or an exit that the code of a model asked for: neither ends the session."""
    return Failed(
        "model",
        f"a library or the model's own code gave up: {said_by(error)}",
        "the session goes on; one of the model's files may be damaged: fetch it again",
        where,
        None,
        seconds,
    )
