"""Turns the YAML configuration of an earlier training pipeline into a command file.

    mode_name: D
    suppression:  {include_inventory: true, inventory_tiers: [A], inventory_regions: [answer],
                   add_recruits: [{source: …/raw.pt, top_n: 30, label: C}]}
    training:     {lora_r: 8, lora_alpha: 16, lr: 1e-4, n_epochs: 4, target_modules: […], max_prompt_tokens: 900,
                   weights: {concl: 2.0, filler: 0.5, glue: 0.1}}
    inference:    {max_new_tokens: 900, modes: [{label: on, hooks_active: true}, {label: off, hooks_active: false}]}

The configuration takes its samples, its inventory and earlier rounds from the pipeline's own folders. In the command
file these become variables, with comments that say what to put there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import PurePath
from typing import Annotated, Any

import msgspec
import yaml
from msgspec import Meta, Struct, field

from sessions.cancel import look
from sessions.errors import ArtifactError
from sessions.lines import comment_of, line_of

#: The pipeline's name of each part of a reply, and the workbench's.
_PARTS = {"concl": "conclusions", "filler": "filler", "glue": "glue"}
#: The largest size of a configuration, in bytes.
LARGEST = 2**20
#: The characters allowed in the names of tiers, regions, modules and parts.
_PLAIN = re.compile(r"[^\s,+&=\"'`${}\\]+")
_PLAIN_RULE = "a name there is letters, digits and _ . -"


#: Numbers in a configuration: counts from 1, and finite non-negative numbers.
_Count = Annotated[int, Meta(ge=1, le=10**9)]
_Real = Annotated[float, Meta(ge=0, le=1e9)]


class _Recruits(Struct, frozen=True):
    source: str
    top_n: _Count
    label: str = ""


class _Suppression(Struct, frozen=True):
    include_inventory: bool = True
    inventory_tiers: tuple[str | int, ...] = ()
    inventory_regions: tuple[str, ...] = ()
    add_recruits: tuple[_Recruits, ...] | None = ()


class _Training(Struct, frozen=True):
    target_modules: tuple[str, ...]
    lora_r: _Count = 8
    lora_alpha: _Count = 16
    lr: _Real = 1e-4
    n_epochs: _Count = 4
    max_prompt_tokens: _Count | None = None
    weights: dict[str, _Real] = field(default_factory=dict)


class _Mode(Struct, frozen=True):
    label: str
    hooks_active: bool
    note: str = ""


class _Inference(Struct, frozen=True):
    modes: tuple[_Mode, ...] = ()
    max_new_tokens: Annotated[int, Meta(ge=0, le=10**9)] | None = None


class Config(Struct, frozen=True):
    """The fields that are read from a configuration; all others are ignored."""

    mode_name: str
    training: _Training
    suppression: _Suppression = _Suppression(include_inventory=False)
    inference: _Inference = _Inference()
    description: str = ""


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """A safe YAML loader that can be cancelled, because YAML loads slowly."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        look()
        return super().compose_node(parent, index)


def contents_of(data: bytes, source: str) -> Any:
    """The plain data in a YAML file.

    Raises:
        ArtifactError: it is not valid YAML; the message names the line.
    """
    try:
        return yaml.load(data, _Loader)  # _Loader builds plain data only, as `safe_load` does
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        place = getattr(error, "problem_mark", None)
        where = f", line {place.line + 1}" if place is not None else ""
        raise ArtifactError(f"{source}{where} is not YAML: {getattr(error, 'problem', None) or error}") from error
    except RecursionError as error:
        raise ArtifactError(f"{source} is not a configuration of rounds: it is nested too deeply") from error
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as error:
        # For example a number of thousands of digits, a 31st of February, or the tag !!int on a word.
        raise ArtifactError(f"{source} has a value that YAML cannot read: {str(error)[:120]}") from error


def configuration(contents: Any, source: str) -> Config:
    """The configuration in the decoded contents of a file.

    Raises:
        ArtifactError: the contents are not a configuration; the message names the field.
    """
    try:
        config = msgspec.convert(contents, Config, strict=False)
        msgspec.json.encode(config)  # fails on an unpaired surrogate, which a command file cannot hold
        return config
    except UnicodeEncodeError as error:
        raise ArtifactError(f"{source} holds text that is not valid Unicode: {ascii(error.object)[:60]}") from error
    except (msgspec.ValidationError, RecursionError) as error:
        raise ArtifactError(
            f"{source} is not a configuration of rounds: {error}",
            "it has mode_name, suppression, training and inference",
        ) from error


def command_file(config: Config, source: str) -> str:
    """The experiment as a command file.

    Raises:
        ArtifactError: a name in it would not be one word of a line.
    """
    _check_words(config, source)
    return "\n".join(_lines(config, source)) + "\n"


def variables(config: Config) -> tuple[str, ...]:
    """The names of the variables of the command file."""
    suppression = config.suppression
    names = ["model", "data", *(["inventory"] if suppression.include_inventory else [])]
    names += [_variable(_round(recruits)) for recruits in suppression.add_recruits or ()]
    return tuple(dict.fromkeys([*names, *(["prompt"] if config.inference.modes else [])]))


def _check_words(config: Config, source: str) -> None:
    """Refuse names that a line reads as more than a name, such as the tier `A,L0/*` or the module `q_proj,${x}`."""
    suppression = config.suppression
    names = [("inventory_tiers", tier) for tier in suppression.inventory_tiers]
    names += [("inventory_regions", region) for region in suppression.inventory_regions]
    names += [("target_modules", module) for module in config.training.target_modules]
    names += [("weights", part) for part in config.training.weights]
    for field_name, text in names:
        if not _PLAIN.fullmatch(str(text)) or not str(text).isprintable():
            raise ArtifactError(f"{source} has {str(text)!r} in {field_name}, which is not a name", _PLAIN_RULE)


def _lines(config: Config, source: str) -> Iterator[str]:
    yield comment_of(f"{config.mode_name}, from {PurePath(source).name}")
    if config.description:
        yield comment_of(config.description)
    model, data, *others = variables(config)
    settings = "".join(f" --set {name}=…" for name in others)
    yield f"# workbench run FILE --set {model}=… --set {data}=samples.jsonl{settings}"
    yield ""
    yield line_of(["model", f"${{{model}}}"])
    yield from _suppressing(config.suppression)
    name = _named(config.mode_name)
    yield ""
    yield _train(config.training, name)
    yield line_of(["recruits", name])
    yield line_of(["rounds", name])
    if config.inference.modes:
        yield ""
        yield from _inferring(config.inference, name)


def _suppressing(suppression: _Suppression) -> Iterator[str]:
    if suppression.include_inventory:
        yield line_of(["import", "${inventory}"], {"--as": "preset:inventory", "--force": True})
        yield line_of(["suppress", _inventory(suppression)])
    for recruits in suppression.add_recruits or ():
        name = _round(recruits)
        yield comment_of(recruits.source)
        yield line_of(["import", f"${{{_variable(name)}}}"], {"--as": name, "--force": True})
        yield line_of(["suppress", f"recruits:{name}:{recruits.top_n}"])


def _inferring(inference: _Inference, name: str) -> Iterator[str]:
    yield line_of(["adapter", "load", f"round:{name}"], {"--as": name})
    yield line_of(["prompt", "${prompt}"])
    for mode in sorted(inference.modes, key=lambda mode: not mode.hooks_active):
        yield comment_of(f"{mode.label}: {mode.note}").rstrip(": ")
        if not mode.hooks_active:
            yield line_of(["release", "all"])
        yield line_of(["generate"], {"--max-tokens": inference.max_new_tokens or None})


def _round(recruits: _Recruits) -> str:
    """The workbench's name for the round that the recruits come from."""
    return _named(recruits.label or PurePath(recruits.source.replace("\\", "/")).parent.name)


def _variable(name: str) -> str:
    return name.replace("-", "_").replace(".", "_")


def _inventory(suppression: _Suppression) -> str:
    """The selection of the inventory's neurons that have one of the tiers and one of the regions."""
    sorts = [suppression.inventory_tiers, suppression.inventory_regions]
    parts = [[f"preset:inventory:{word}" for word in words] for words in sorts if words]
    return " & ".join(f"({', '.join(part)})" if len(part) > 1 else part[0] for part in parts) or "preset:inventory"


def _train(training: _Training, name: str) -> str:
    weights = ",".join(f"{_PARTS.get(part, part)}={weight:g}" for part, weight in training.weights.items())
    options = {"--as": name, "--rank": training.lora_r, "--alpha": training.lora_alpha, "--lr": f"{training.lr:g}",
               "--epochs": training.n_epochs, "--modules": ",".join(training.target_modules),
               "--weights": weights or None, "--budget": training.max_prompt_tokens}  # fmt: skip
    return line_of(["train-round", "${data}"], options)


def _named(text: str) -> str:
    """A valid artifact name made from a name of the pipeline."""
    kept = "".join(sign if sign.isascii() and (sign.isalnum() or sign in "._-") else "-" for sign in text).strip("-._")
    return f"mode-{kept}"[:64]
