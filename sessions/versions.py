"""The versions of the packages that a command's result depends on."""

from __future__ import annotations

import platform
from functools import cache

#: Packages that a command's result depends on, and the distribution that each comes from.
PACKAGES = {"workbench": "neuron-workbench", "torch": "torch", "transformers": "transformers"}


def versions() -> dict[str, str]:
    """The version of Python and of each of `PACKAGES`, found without importing any of them."""
    return {"python": platform.python_version()} | {name: _version(package) for name, package in PACKAGES.items()}


@cache
def _version(package: str) -> str:
    # Imported here: it takes longer than the rest of this file, and only a finished command needs it.
    from importlib import metadata

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"
