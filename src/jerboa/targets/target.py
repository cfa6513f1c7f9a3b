"""What a program can be built for: the boards of ``boards.toml``, this machine, and WebAssembly."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from jerboa.errors import JerboaError, did_you_mean

_BOARDS = Path(__file__).with_name("boards.toml")


@dataclass(frozen=True)
class Memory:
    """One address range of a board.

    ``kind`` is ``"flash"``, ``"ram"`` or ``"tcm"`` (tightly coupled, no wait states); ``bytes`` is its size and
    ``source`` names the document that states both numbers.
    """

    name: str
    base: int
    bytes: int
    kind: str
    source: str

    @property
    def end(self) -> int:
        """First address after the range."""
        return self.base + self.bytes


@dataclass(frozen=True)
class Target:
    """A board and its core, or ``host`` or ``wasm``, which have neither clock nor memory map.

    ``fpu`` is GCC's name of the floating-point unit (``"fpv5-sp-d16"``, …) or ``"none"``; ``dsp`` tells whether the
    core has the 16-bit SIMD instructions (SMLAD). ``ram`` is the contiguous range for data and stack; ``regions``
    says what it is made of and what lies elsewhere.
    """

    name: str
    core: str
    clock_hz: int
    flash: Memory
    ram: Memory
    dsp: bool
    fpu: str
    regions: tuple[Memory, ...]
    source: str
    notes: str = ""

    @property
    def is_board(self) -> bool:
        """Whether firmware can be linked for it."""
        return self.core.startswith("cortex-")


def target_names() -> list[str]:
    """Every name that :func:`load_target` knows: the boards, then ``host`` and ``wasm``."""
    return [*_boards(), "host", "wasm"]


def load_target(name: str) -> Target:
    """The target of that name. Raises JerboaError, with the nearest name, for an unknown one."""
    if name in ("host", "wasm"):
        nothing = Memory("none", 0, 0, "ram", "no fixed memory map")
        return Target(name, name, 0, nothing, nothing, False, "none", (), "no board")
    boards = _boards()
    if name not in boards:
        raise JerboaError(f"unknown target '{name}'", hint=did_you_mean(name, target_names()))
    board = boards[name]
    return Target(
        name=name,
        core=board["core"],
        clock_hz=board["clock_hz"],
        flash=Memory(name="flash", kind="flash", **board["flash"]),
        ram=Memory(name="ram", kind="ram", **board["ram"]),
        dsp=board["dsp"],
        fpu=board["fpu"],
        regions=tuple(Memory(**region) for region in board["regions"]),
        source=board["source"],
        notes=board.get("notes", ""),
    )


@cache
def _boards() -> dict[str, dict[str, Any]]:
    return tomllib.loads(_BOARDS.read_text(encoding="utf-8"))
