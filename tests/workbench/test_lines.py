"""What is shown of a command: every result at two widths, with the text that models and users come up with."""

from __future__ import annotations

import io
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from rich.cells import cell_len
from rich.console import Console

from sessions import results
from sessions.events import Failed, Progress, Result, Started, State, Text, Value
from sessions.interventions.arms import Arm
from sessions.views.writing import curve
from tests.samples import NASTY, samples
from workbench.lines import Lines
from workbench.rendering.outcomes import present
from workbench.writing import FlowingText, bar, divergence, fitted, inline, plain, quoted, signed

MOVES = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2066-\u2069\ufeff\ud800-\udfff]"
)


def printed(value: Value, width: int) -> str:
    out = io.StringIO()
    Lines(Console(file=out, width=width, markup=False, emoji=False)).show(Result(value, 0.2))
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 160])
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY)
def test_every_result_fits_the_terminal_and_cannot_move_its_cursor(text: str, width: int) -> None:
    for value in samples(text):
        shown = printed(value, width)
        assert not MOVES.search(shown), type(value).__name__
        assert all(cell_len(line) <= width for line in shown.splitlines()), type(value).__name__
        assert not any(line.endswith(" ") for line in shown.split("\n")), type(value).__name__
        shown.encode()


def test_markup_is_text() -> None:
    for value in samples("[/INST]"):
        if not isinstance(value, results.Quit):
            present(value, 80)
    assert "[/INST]" in printed(next(each for each in samples("[/INST]") if isinstance(each, results.Generated)), 80)


def named(kind: type, text: str = " Austin", which: int = 0) -> str:
    return printed([value for value in samples(text) if type(value) is kind][which], 80)


def test_attributions_carry_their_signs_and_stand_to_the_right() -> None:
    lines = named(results.NeuronTable).splitlines()
    assert lines[0].split() == ["L", "N", "pos", "token", "attr", "share", "act", "pushes", "up", "pushes", "down"]
    assert lines[1].split()[:7] == ["24", "1005", "41", '"', 'Austin"', "+1.523", "+20.8%"]
    assert "-0.040" in lines[2] and "-0.5%" in lines[2]
    assert lines[1].index("+1.523") + 6 == lines[2].index("-0.040") + 6
    assert lines[-1] == "4 of 200 neurons"


def test_the_texts_of_a_comparison_are_marked_where_they_part() -> None:
    ran = results.Compared
    text = named(ran)
    assert "baseline · target +7.312 · p 0.612 · ended by itself" in text
    assert "ablated · target -1.250 · p 2e-04 · cut at max_tokens" in text
    assert "▸It is Austin." in text
    assert "target" in text and "against" in text and "-0.612" in text


@pytest.mark.parametrize(("width", "rows"), [(80, 2), (99, 2), (100, 1), (160, 1)])
def test_compared_texts_stand_side_by_side_where_there_is_room(width: int, rows: int) -> None:
    compared = next(value for value in samples("Dallas") if isinstance(value, results.Compared))
    assert len([line for line in printed(compared, width).splitlines() if "▸" in line]) == rows


def test_equal_texts_are_said_to_be_equal_and_carry_no_mark() -> None:
    assert "same text" in named(results.Compared, "x", which=1)
    assert "▸" not in named(results.Compared, "x", which=1)


def test_a_sweep_is_one_row_a_multiplier_in_80_columns_and_whole_in_160() -> None:
    swept = next(value for value in samples(NASTY["long"]) if isinstance(value, results.Swept))
    narrow, wide = printed(swept, 80), printed(swept, 160)
    rows = [line for line in narrow.splitlines() if line.startswith("×")]
    assert [row[:2] for row in rows] == ["×0", "×1"]
    assert all(row.endswith("…") for row in rows)
    assert wide.count("x" * 50) > narrow.count("x" * 50)


def test_a_grid_names_each_knee_and_says_where_no_multiplier_flips_it() -> None:
    one, many = (
        printed(
            next(each for each in samples("all") if isinstance(each, results.SweptGrid) and each.prompts == count), 80
        )
        for count in (1, 3)
    )
    assert "○ ×0" in one and '○ knee: ×0 flips "all" to "all"' in one and 'no multiplier flips "all"' in one
    assert "3 of 3 prompts flip, the median knee ×0 · ○ below 1: ×0, 3 flip" in many
    assert "no multiplier flips the likeliest token of any of 3 prompts" in many
    assert all(cell_len(line) <= 80 for line in (one + many).splitlines())


def test_a_discovery_is_summed_up_in_one_line() -> None:
    found = next(value for value in samples(" Austin") if isinstance(value, results.Discovered))
    shown = " ".join(printed(found, 160).split("\n"))
    for fact in ("4 of 1,935,360 neurons", 'logit " Austin" − logit " Dallas" = +7.312', "conservation off by 3e-05%",
                 "lrp, frozen attention", "0.20 s"):  # fmt: skip
        assert fact in shown


def test_notes_stand_under_the_result() -> None:
    assert named(results.ModelOpened, "taken").splitlines()[-2:] == ["· taken", "· taken"]


# Events one after another


class Screen(io.StringIO):
    """A terminal that is not one: remembers what it was told."""

    def isatty(self) -> bool:
        return True


def screen(width: int = 80, terminal: bool = True) -> tuple[Lines, io.StringIO, io.StringIO]:
    out, err = (Screen(), Screen()) if terminal else (io.StringIO(), io.StringIO())
    consoles = [
        Console(file=file, width=width, height=24, markup=False, emoji=False, color_system=None,
                force_terminal=terminal, _environ={"TERM": "xterm"})
        for file in (out, err)
    ]  # fmt: skip
    return Lines(*consoles), out, err


def generated(text: str) -> Result:
    value = next(value for value in samples("x") if isinstance(value, results.Generated))
    arm = Arm(name="", multiplier=1, text=text, ids=(1, 2, 3), stopped="eos", next_tokens=())
    return Result(results.Generated(encoded=value.encoded, arm=arm), 0.5)


def test_streamed_text_appears_as_it_comes_and_is_not_repeated() -> None:
    lines, out, _ = screen()
    lines.show(Text("The capital"))
    assert out.getvalue() == "The "  # the last word may still grow
    lines.show(Text(" is Austin."))
    lines.show(generated("The capital is Austin."))
    assert out.getvalue() == "The capital is Austin.\n3 tokens · ended by itself · 0.50 s\n"


def replied(text: str, thought: str, answer: str, closing: str) -> Result:
    value = next(value for value in samples("x") if isinstance(value, results.Said))
    arm = Arm(name="", multiplier=1, text=text, ids=(1, 2, 3), stopped="eos", next_tokens=())
    return Result(structs.replace(value, arm=arm, thought=thought, answer=answer, closing=closing, under=""), 0.5)


@pytest.mark.parametrize(
    ("text", "closing", "again"),
    [
        ("<think>Two and two.</think>It is 4.", "</think>", ""),
        ("analysisTwo and two.assistantfinalIt is 4.", "<|end|>", "Two and two.\n\nIt is 4.\n"),
    ],
)
def test_a_streamed_reply_is_shown_again_only_where_nothing_told_its_thought_from_its_answer(
    text: str, closing: str, again: str
) -> None:
    lines, out, _ = screen()
    lines.show(Text(text))
    lines.show(replied(text, "Two and two.", "It is 4.", closing))
    assert out.getvalue() == f"{text}\n{again}exchange 2 · 3 tokens · ended by itself · 0.50 s\n"


def test_a_conversation_names_who_speaks_and_what_it_was_said_under() -> None:
    lines = named(results.HistoryShown, "x").splitlines()
    assert [line.split()[0] for line in lines[:4]] == ["system", "you", "thought", "model"]
    assert lines[4].split() == ["under", "x"]
    assert lines[-1] == "the last of 12 exchanges · thinking on"


def test_a_text_that_was_streamed_only_in_part_is_shown_whole() -> None:
    lines, out, _ = screen()
    lines.show(Text("The cap"))
    lines.show(generated("Another text."))
    assert "Another text.\n" in out.getvalue()


def test_what_is_piped_gets_results_alone() -> None:
    lines, out, err = screen(terminal=False)
    lines.show(Progress("loading", 3, 10, "layers"))
    lines.show(Text("The capital", "baseline"))
    lines.show(State(model="smollm2"))
    assert out.getvalue() == err.getvalue() == ""
    lines.show(generated("Austin."))
    assert out.getvalue().startswith("Austin.\n")


def test_several_texts_grow_under_their_labels_and_then_make_room_for_the_result() -> None:
    lines, out, _ = screen()
    for piece in ("The", " capital"):
        lines.show(Text(piece, "baseline"))
        lines.show(Text(piece, "×0"))
    assert "baseline ▏" in out.getvalue()
    before = len(out.getvalue())
    lines.show(generated("Done."))
    erased = out.getvalue()[before:]
    assert "\x1b[2K" in erased and erased.endswith("Done.\n3 tokens · ended by itself · 0.50 s\n")


def test_texts_of_a_cancelled_command_stay_on_the_screen() -> None:
    lines, out, err = screen()
    lines.show(Text("The capital", "baseline"))
    lines.show(Text("A state of", "×0"))
    before = len(out.getvalue())
    lines.show(Failed("cancelled", "cancelled"))
    assert "A state of" in out.getvalue()[before:]
    assert err.getvalue().endswith("✗ cancelled\n")
    assert "\x1b[?25h" in out.getvalue()[before:]  # the cursor is back


def test_streamed_text_cannot_control_the_terminal() -> None:
    lines, out, _ = screen()
    lines.show(Text("a\x1b[2J b \x9b31m [/INST]\u202e "))
    lines.close()
    assert out.getvalue() == "a\\x1b[2J b \\x9b31m [/INST]\\u202e\n"


def test_progress_is_one_line_that_goes_away() -> None:
    lines, out, err = screen()
    lines.show(Progress("universal neurons", 1, 8, "prompts"))
    assert err.getvalue().startswith("\runiversal neurons") and "1/8 prompts" in err.getvalue()
    lines.show(generated("Austin."))
    assert err.getvalue().endswith("\r\x1b[K") and "\n" not in err.getvalue()
    assert "universal" not in out.getvalue()


def test_progress_never_wraps() -> None:
    lines, _, err = screen(width=40)
    lines.show(Progress("日本語" * 30 + "\n", 3e8, 1e9, "bytes"))
    assert cell_len(err.getvalue().removeprefix("\r").removesuffix("\x1b[K")) <= 39


def test_a_failure_says_what_and_what_next() -> None:
    lines, _, err = screen(terminal=False)
    lines.show(Failed("usage", "no verb is called 'abalte'", "did you mean ablate?"))
    assert err.getvalue() == "✗ no verb is called 'abalte'\n→ did you mean ablate?\n"


def test_commands_of_a_file_are_set_apart_by_their_lines() -> None:
    lines, out, _ = screen(terminal=False)
    for text in ("one", "two"):
        lines.show(Started("generate", f"generate {text}"))
        lines.show(generated(text))
    assert out.getvalue().split("\n")[0] == "> generate one"
    assert "\n\n> generate two\n" in out.getvalue()


# Small forms


@given(st.text())
def test_nothing_that_is_written_can_move_the_cursor(text: str) -> None:
    for written in (plain(text), inline(text), quoted(text)):
        assert not MOVES.search(written)
    assert "\n" not in inline(text) + quoted(text)
    inline(text).encode()


def test_quotes_make_white_space_visible() -> None:
    assert quoted(" Austin") == '" Austin"'
    assert quoted('a"b\\n\n\u00a0') == r'"a\"b\\n\n\xa0"'
    assert quoted("👨‍👩‍👧 日本") == '"👨‍👩‍👧 日本"'


@pytest.mark.parametrize(
    ("before", "after", "place"),
    [
        ("Texas is Austin.", "Texas is Dallas.", 9),
        ("Texas is Austin.", "Texas is Auburn.", 9),
        ("same", "same", 4),
        ("same", "same again", 4),
        ("", "x", 0),
        ("日本語です", "日本語だ", 3),
        ("cafe\u0301", "cafe", 0),
    ],
)
def test_texts_part_at_the_first_word_that_differs(before: str, after: str, place: int) -> None:
    assert divergence(before, after) == divergence(after, before) == place


@given(st.floats(0, 1), st.integers(1, 40))
def test_a_bar_fits_its_cells_and_shows_whatever_is_more_than_nothing(fraction: float, width: int) -> None:
    drawn = bar(fraction, width)
    assert cell_len(drawn) <= width
    assert bool(drawn) == (fraction > 0)


def test_signs_are_always_written() -> None:
    assert [signed(x) for x in (1.5234, -0.04, 0, 3.1e-5, None, float("nan"))] == [
        "+1.523", "-0.040", "+0.000", "+3.1e-05", "–", "–",
    ]  # fmt: skip


@given(st.text(alphabet="ab日 é\n", max_size=60), st.integers(1, 30))
def test_cut_text_fits(text: str, width: int) -> None:
    assert cell_len(fitted(inline(text), width)) <= width


@given(st.lists(st.text(alphabet="abc日  \n", max_size=8)), st.integers(10, 30))
def test_flowing_text_breaks_between_words_and_loses_nothing(bits: list[str], width: int) -> None:
    flow = FlowingText(width)
    written = "".join([*map(flow.feed, bits), flow.finish()])
    assert "".join(written.split()) == "".join("".join(bits).split())
    words = "".join(bits).split()
    if all(cell_len(word) < width // 2 and word.isascii() for word in words):
        assert written.split() == words
        assert all(cell_len(line) <= width for line in written.split("\n"))


def test_a_curve_of_one_line_falls_as_its_numbers_do_and_says_which_are_none() -> None:
    assert curve([8.0, 4.0, 0.0], 10) == "█▅▁"
    assert curve([8.0, 8.0, 1.0, 1.0], 2) == "█▂"
    assert curve([1.0, math.nan], 10) == "█?"
    assert curve([], 10) == curve([0.0], 10) == ""
