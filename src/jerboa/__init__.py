"""From recordings of spoken words to a keyword spotter on a microcontroller, and what it costs there.

graph = jerboa.load("runs/demo")
build = jerboa.compile(graph, target="stm32f746")
build.profile()
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

try:
    __version__ = version("jerboa")
except PackageNotFoundError:
    __version__ = "0"

if TYPE_CHECKING:
    from jerboa.build import compile as compile
    from jerboa.errors import JerboaError as JerboaError
    from jerboa.model_file import load as load
    from jerboa.recipe import Recipe as Recipe

_HOMES = {"compile": "build", "load": "model_file", "Recipe": "recipe", "JerboaError": "errors"}
__all__ = ["JerboaError", "Recipe", "compile", "load"]


def __getattr__(name: str) -> Any:
    """Import on first use: a command that needs no compiler and no network should not pay for them."""
    if name not in _HOMES:
        raise AttributeError(f"module 'jerboa' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f"jerboa.{_HOMES[name]}"), name)
