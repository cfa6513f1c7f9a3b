"""The arena plan: where every tensor lives and when, found before any code is written.

Tensors that an operator may overwrite in place share one buffer. Buffers are placed first-fit in several orders, and the smallest
arena wins; the largest live set is the bound no plan can beat.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from jerboa.graph.ir import Graph

ALIGNMENT = 4
RANDOM_ORDERS = 200


@dataclass(frozen=True)
class Placement:
    """Bytes ``offset … offset + bytes`` of the arena, in use from step ``first`` to step ``last`` (both included)."""

    name: str
    offset: int
    bytes: int
    first: int
    last: int


@dataclass(frozen=True)
class Plan:
    """Placements by tensor name; scratch of a node is named ``<node>.scratch``."""

    placements: dict[str, Placement]
    arena_bytes: int
    lower_bound: int
    steps: tuple[str, ...]

    def offset(self, name: str) -> int:
        return self.placements[name].offset


@dataclass(frozen=True)
class _Buffer:
    members: tuple[str, ...]
    bytes: int
    first: int
    last: int


def plan(graph: Graph, scratch: Mapping[str, int], minimum: int = 0) -> Plan:
    """Place all tensors of the graph and the scratch bytes of its nodes (by node name).

    ``minimum`` bytes are reserved in any case: what shares the arena at other times, such as the front end's scratch.
    """
    buffers = _buffers(graph, scratch)
    bound = max(sum(b.bytes for b in buffers if b.first <= step <= b.last) for step in range(len(graph.nodes)))
    best: dict[int, int] = {}
    size = -1
    for order in _orders(buffers):
        offsets = _first_fit(buffers, order)
        total = max(offsets[index] + buffer.bytes for index, buffer in enumerate(buffers))
        if size < 0 or total < size:
            best, size = offsets, total
        if size == bound:
            break
    lifetimes = _lifetimes(graph)
    placements = {}
    for index, buffer in enumerate(buffers):
        for name in buffer.members:
            bytes_, first, last = lifetimes.get(name, (buffer.bytes, buffer.first, buffer.last))
            placements[name] = Placement(name, best[index], bytes_, first, last)
    arena = _align(max(size, minimum))
    return Plan(placements, arena, max(bound, _align(minimum)), tuple(node.name for node in graph))


def _align(size: int) -> int:
    return -(-size // ALIGNMENT) * ALIGNMENT


def _lifetimes(graph: Graph) -> dict[str, tuple[int, int, int]]:
    """(bytes, first step, last step) of every tensor in use."""
    first, last = {graph.input: 0}, {graph.input: 0}
    for step, node in enumerate(graph):
        first[node.output] = last[node.output] = step
        for name in node.inputs:
            last[name] = step
    last[graph.output] = len(graph.nodes) - 1
    return {name: (graph.tensors[name].size, first[name], last[name]) for name in first}


def _buffers(graph: Graph, scratch: Mapping[str, int]) -> list[_Buffer]:
    lifetimes = _lifetimes(graph)
    group = {name: [name] for name in lifetimes}
    for step, node in enumerate(graph):
        for index in node.operator.in_place:
            source = node.inputs[index]
            ends_here = max(lifetimes[name][2] for name in group[source]) == step and source != graph.output
            if ends_here and node.inputs.count(source) == 1 and lifetimes[source][0] == lifetimes[node.output][0]:
                group[source].append(node.output)
                group[node.output] = group[source]
                break
    distinct = {id(members): members for members in group.values()}
    buffers = [
        _Buffer(
            tuple(members),
            _align(max(lifetimes[name][0] for name in members)),
            min(lifetimes[name][1] for name in members),
            max(lifetimes[name][2] for name in members),
        )
        for members in distinct.values()
    ]
    for step, node in enumerate(graph):
        if scratch.get(node.name):
            buffers.append(_Buffer((f"{node.name}.scratch",), _align(scratch[node.name]), step, step))
    return buffers


def _orders(buffers: list[_Buffer]) -> Iterator[list[int]]:
    indices = list(range(len(buffers)))
    yield sorted(indices, key=lambda i: (-buffers[i].bytes, buffers[i].first))
    yield sorted(indices, key=lambda i: (-buffers[i].bytes * (buffers[i].last - buffers[i].first + 1), i))
    yield sorted(indices, key=lambda i: (buffers[i].first, -buffers[i].bytes))
    generator = np.random.default_rng(0)
    for _ in range(RANDOM_ORDERS):
        yield [int(index) for index in generator.permutation(len(buffers))]


def _first_fit(buffers: list[_Buffer], order: list[int]) -> dict[int, int]:
    offsets: dict[int, int] = {}
    for index in order:
        mine = buffers[index]
        taken = sorted(
            (offsets[other], offsets[other] + buffers[other].bytes)
            for other in offsets
            if buffers[other].first <= mine.last and mine.first <= buffers[other].last
        )
        offset = 0
        for start, end in taken:
            if offset + mine.bytes <= start:
                break
            offset = max(offset, end)
        offsets[index] = offset
    return offsets
