"""Lines of the grammar, made of words: whatever is in a word, it stays one word of one line.

    line_of(["import", "my file.json"], {"--as": "texas", "--force": True})
    import "my file.json" --as texas --force

Names of files, of modules and of parts come from elsewhere: out of a model, an archive, another project's files. Joined
as texts, one with a blank or a line break in it would become words, options or a command of its own. So a line is never
made in any other way than this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def line_of(words: Iterable[object], options: Mapping[str, object] | None = None) -> str:
    """The words as a line, and options with their values behind them.

    An option whose value is None or False is left out; of one that is True the name alone is said, and one with several
    values is said with each.
    """
    return " ".join([*(quoted(str(word)) for word in words), *_options(options or {})])


def _options(options: Mapping[str, object]) -> Iterable[str]:
    for name, value in options.items():
        if value is True:
            yield name
        elif value is not None and value is not False:
            for each in value if isinstance(value, tuple | list) else (value,):
                yield from (name, quoted(str(each)))


def with_options(line: str, options: Mapping[str, object]) -> str:
    """A line with more options at its end, said as in `line_of`."""
    return " ".join([line, *_options(options)])


def quoted(text: str) -> str:
    """The text as one word of a line, between quotes if it needs them."""
    plain = text and not any(c.isspace() for c in text) and text[0] not in "\"'#-"
    if plain and "\\" not in text:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


def comment_of(text: str) -> str:
    """The text as a comment, which ends where its line does."""
    return f"# {' '.join(text.split())}".rstrip()
