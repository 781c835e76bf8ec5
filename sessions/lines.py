"""Lines of the grammar, made of words that are quoted where they need it.

    line_of(["import", "my file.json"], {"--as": "texas", "--force": True})
    import "my file.json" --as texas --force

Names of files, modules and parts come from elsewhere: a model, an archive, the files of another project. Without
quotes, a name with a space or a line break would become several words, an option or a command of its own. So every line
is made here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping


class QuotedText(str):
    """A text that stands in quotes in every line, because it means something else without them."""


def line_of(words: Iterable[object], options: Mapping[str, object] | None = None) -> str:
    """A line of these words, followed by options with their values.

    An option that is None or False is left out. One that is True stands without a value, and one with several values is
    repeated for each.
    """
    return " ".join([*(quoted(_texted(word)) for word in words), *_options(options or {})])


def _options(options: Mapping[str, object]) -> Iterable[str]:
    for name, value in options.items():
        if value is True:
            yield name
        elif value is not None and value is not False:
            for one in value if isinstance(value, tuple | list) else (value,):
                yield from (name, quoted(_texted(one)))


def _texted(value: object) -> str:
    return value if isinstance(value, QuotedText) else str(value)


def with_options(line: str, options: Mapping[str, object]) -> str:
    """A line with more options at its end, written as in `line_of`."""
    return " ".join([line, *_options(options)])


def quoted(text: str) -> str:
    """The text as one word of a line, in quotes if it needs them: a `?` alone would ask for help."""
    plain = text and not any(c.isspace() for c in text) and text[0] not in "\"'#-" and text != "?"
    if plain and "\\" not in text and not isinstance(text, QuotedText):
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'


#: The end of lines that the app runs by itself, to fill in what its panes show. Histories and reports leave them out.
QUIET = "# filled in by the app"


def comment_of(text: str) -> str:
    """The text as a comment on one line."""
    return f"# {' '.join(text.split())}".rstrip()
