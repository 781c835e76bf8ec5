"""Writes every generated page and picture of the manual: `python -m manual`.

`tests/manual/` checks that what is committed is current.
"""

from __future__ import annotations

from manual import pictures, reference, surfaces


def main() -> None:
    reference.write()
    surfaces.write()
    pictures.write()


if __name__ == "__main__":
    main()
