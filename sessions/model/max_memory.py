"""`--max-memory`: the most that the weights of a model may take on each device, as accelerate spreads them.

    20GiB                   on every accelerator
    0=20GiB,1=40GiB         on these two accelerators, and none on others
    0=20GiB,cpu=60GiB       the rest in the memory of the host, and what is left on disk

The file needs no torch: the words of a line are read with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from sessions.errors import UsageError

_UNITS = {
    f"{letter}{end}": base**power
    for power, letter in enumerate(("", "K", "M", "G", "T"))
    for end, base in (("B", 1000), ("iB", 1024))
    if letter or end == "B"
}
_AMOUNT = re.compile(r"(\d+(?:\.\d+)?)\s*([KMGT]?i?B)", re.IGNORECASE)
_HINT = "for example: --max-memory 20GiB, or 0=20GiB,cpu=60GiB"

#: Bytes by device: the number of an accelerator, "cpu", or "" for every accelerator.
MaxMemory = dict[int | str, int]


def parsed(text: str) -> MaxMemory:
    """The bytes that a text allows each device.

    Raises:
        UsageError: it is no amount, or no list of devices with amounts.
    """
    parts = [part.strip() for part in text.split(",")]
    if len(parts) == 1 and "=" not in parts[0]:
        return {"": _bytes(parts[0])}
    found: MaxMemory = {}
    for part in parts:
        name, equals, amount = part.partition("=")
        name = name.strip().removeprefix("cuda:")
        if not equals or not (name == "cpu" or (name.isascii() and name.isdecimal())):
            raise UsageError(f"'{part}' is not a device with an amount of memory", _HINT)
        device = int(name) if name != "cpu" else name
        if device in found:
            raise UsageError(f"--max-memory names device {name} twice", _HINT)
        found[device] = _bytes(amount.strip())
    return found


def _bytes(text: str) -> int:
    amount = _AMOUNT.fullmatch(text)
    unit = (
        None
        if amount is None
        else next((size for name, size in _UNITS.items() if name.lower() == amount[2].lower()), None)
    )
    if amount is None or unit is None:
        raise UsageError(f"'{text}' is not an amount of memory", _HINT)
    size = int(float(amount[1]) * unit)
    if not size:
        raise UsageError("no memory at all is too little", _HINT)
    return size


def on_devices(allowed: MaxMemory, accelerators: Iterable[int], host: int | None) -> MaxMemory:
    """What accelerate is to be told on a machine with these accelerators, and so much free memory of the host.

    Raises:
        UsageError: a device is not there.
    """
    there = list(accelerators)
    missing = next((device for device in allowed if device not in ("", "cpu", *there)), None)
    if missing is not None:
        has = f"accelerators {', '.join(map(str, there))}" if there else "no accelerator"
        raise UsageError(f"this machine has no accelerator {missing}", f"it has {has}; {_HINT}")
    if "" not in allowed:
        return dict(allowed)
    spread: MaxMemory = dict.fromkeys(there, allowed[""])
    # Without an accelerator the amount is that of the host.
    spread["cpu"] = allowed[""] if not there else host if host is not None else 2**62
    return spread
