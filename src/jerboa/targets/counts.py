"""Exact counts of a program's basic blocks and of the edges between them."""

from __future__ import annotations

import struct
from bisect import bisect_right
from dataclasses import dataclass
from typing import NamedTuple

from jerboa.errors import JerboaError

# ``struct row`` of emulator_counter.c.
_ROW = struct.Struct("<QQQIIII")


class Block(NamedTuple):
    """A basic block: how often it ran, its length in instructions and in bytes.

    The emulator cuts long straight code into several blocks, so an edge to the next address need not be a branch.
    """

    executions: int
    instructions: int
    size: int


@dataclass(frozen=True)
class Counts:
    """Exact counts since the last reset.

    ``blocks`` maps a block's address to its counts; ``edges`` maps (previous block, block) to how often the second
    followed the first, where the previous block of a call's first block is 0.
    """

    instructions: int
    blocks: dict[int, Block]
    edges: dict[tuple[int, int], int]

    def by_symbol(self, symbols: dict[str, tuple[int, int]]) -> dict[str, int]:
        """Instructions of each function that ran, most first, callees not included; ``symbols`` as in
        ``Firmware.symbols``.
        """
        places = sorted((address, size, name) for name, (address, size) in symbols.items() if size)
        starts = [place[0] for place in places]
        totals: dict[str, int] = {}
        for address, block in self.blocks.items():
            index = bisect_right(starts, address) - 1
            inside = index >= 0 and address < places[index][0] + places[index][1]
            name = places[index][2] if inside else "(other)"
            totals[name] = totals.get(name, 0) + block.executions * block.instructions
        return dict(sorted(totals.items(), key=lambda item: -item[1]))


def counts_from_rows(instructions: int, rows: bytes) -> Counts:
    """Counts from the worker's edge rows. Raises JerboaError when code changed while it ran."""
    executions: dict[tuple[int, int, int], int] = {}
    edges: dict[tuple[int, int], int] = {}
    for before, block, count, _, size, length, _ in _ROW.iter_unpack(rows):
        key = (block, size, length)
        executions[key] = executions.get(key, 0) + count
        edges[before, block] = edges.get((before, block), 0) + count
    blocks = {block: Block(count, length, size) for (block, size, length), count in executions.items()}
    if len(blocks) != len(executions):
        raise JerboaError("one address began blocks of two lengths: code was changed while it ran")
    return Counts(instructions, blocks, edges)
