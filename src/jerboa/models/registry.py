"""The table of architectures: what a recipe's ``[model] name`` may say, and which front end each one needs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import nn

from jerboa.errors import JerboaError, did_you_mean

_FILES = ("temporal", "ds_cnn", "one_fstride4")
_TABLE: dict[str, Architecture] = {}


@dataclass(frozen=True)
class Architecture:
    """A registered network.

    Attributes:
        name: what a recipe calls it.
        description: one line.
        frontend: values of the recipe's ``[frontend]`` keys that the network needs; a recipe may override single keys.
        module: class that is called as ``module(frames, features, classes, **options)``. The instance takes
            dequantised features, a float tensor (N, 1, frames, features), and gives logits (N, classes).
    """

    name: str
    description: str
    frontend: Mapping[str, Any]
    module: type[nn.Module]

    @property
    def options(self) -> dict[str, Any]:
        """Names of the options and their defaults."""
        parameters = list(inspect.signature(self.module).parameters.values())[3:]
        return {parameter.name: parameter.default for parameter in parameters}


def register(name: str, frontend: Mapping[str, Any]) -> Callable[[type[nn.Module]], type[nn.Module]]:
    """Class decorator that enters a network into the table; the docstring's first line becomes its description."""

    def enter(module: type[nn.Module]) -> type[nn.Module]:
        description = (inspect.getdoc(module) or "").partition("\n")[0]
        _TABLE[name] = Architecture(name, description, dict(frontend), module)
        return module

    return enter


def names() -> list[str]:
    """The registered names."""
    for file in _FILES:
        import_module(f"jerboa.models.{file}")
    return list(_TABLE)


def architecture(name: str) -> Architecture:
    """The network of that name. Raises JerboaError with the nearest known name."""
    known = names()
    if name not in _TABLE:
        raise JerboaError(f"no network is called '{name}'", where="model.name", hint=did_you_mean(name, known))
    return _TABLE[name]


def build(name: str, frames: int, features: int, classes: int, options: Mapping[str, Any] | None = None) -> nn.Module:
    """A fresh network with random weights from torch's global generator.

    Args:
        name: a registered name.
        frames, features: shape of one clip's features.
        classes: number of labels.
        options: the recipe's ``model.options``.

    Raises:
        JerboaError: unknown name or option, an option of the wrong type, or features too few for the network.
    """
    entry = architecture(name)
    options = dict(options or {})
    for key, value in options.items():
        where = f"model.options.{key}"
        if key not in entry.options:
            hint = did_you_mean(key, entry.options) if entry.options else f"'{name}' has no options"
            raise JerboaError(f"'{name}' has no option '{key}'", where=where, hint=hint)
        default = entry.options[key]
        if _kind(value) != _kind(default):
            raise JerboaError(f"got {value!r}", where=where, allowed=f"{_kind(default)}, for example {default!r}")
    try:
        return entry.module(frames, features, classes, **options)
    except (ValueError, RuntimeError) as error:
        raise JerboaError(f"'{name}' cannot be built for {frames} frames of {features} features: {error}") from None


def _kind(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return "a list of whole numbers" if all(isinstance(item, int) for item in value) else "a list"
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(type(value), "?")
