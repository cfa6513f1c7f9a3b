"""Tensors, nodes and graphs, and the verifier that runs between any two steps that change one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from jerboa.errors import JerboaError
from jerboa.graph.ops.base import Operator


@dataclass(frozen=True)
class Quantization:
    """``real = scale * (q - zero_point)`` with q in int8."""

    scale: float
    zero_point: int


@dataclass(frozen=True)
class Tensor:
    """An int8 activation of shape (height, width, channels); audio has time on the height."""

    name: str
    shape: tuple[int, int, int]
    quantization: Quantization

    @property
    def size(self) -> int:
        """Bytes, which is also elements."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Node:
    """One operator applied: it reads the named tensors and writes one."""

    name: str
    operator: Operator
    inputs: tuple[str, ...]
    output: str


@dataclass(frozen=True)
class Graph:
    """A network in execution order, with one input tensor and one output tensor.

    ``frontend`` is the JSON form of the front end whose features the input expects, or None for a bare network.
    """

    name: str
    tensors: dict[str, Tensor]
    nodes: tuple[Node, ...]
    input: str
    output: str
    labels: tuple[str, ...] = ()
    frontend: dict[str, Any] | None = field(default=None)

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes)

    def inputs_of(self, node: Node) -> list[Tensor]:
        return [self.tensors[name] for name in node.inputs]

    def output_of(self, node: Node) -> Tensor:
        return self.tensors[node.output]

    def macs_of(self, node: Node) -> int:
        return node.operator.macs(self.inputs_of(node), self.output_of(node))

    @property
    def macs(self) -> int:
        return sum(self.macs_of(node) for node in self)

    @property
    def parameters(self) -> int:
        """Weights and biases, as a training framework counts them."""
        return sum(node.operator.parameters() for node in self)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the int8 weights alone (biases and requantisation constants are counted as tables)."""
        return sum(array.nbytes for node in self for name, array in node.operator.arrays().items() if name == "weights")


def verify(graph: Graph) -> Graph:
    """Check the graph and return it.

    Raises:
        JerboaError: names the node and the rule that does not hold.
    """
    if graph.input not in graph.tensors:
        raise JerboaError(f"the graph's input '{graph.input}' is no tensor", where=graph.name)
    written = {graph.input}
    names: set[str] = set()
    for tensor in graph.tensors.values():
        if len(tensor.shape) != 3 or min(tensor.shape) < 1:
            raise JerboaError(f"shape {tensor.shape} is not (height, width, channels)", where=tensor.name)
        if not (tensor.quantization.scale > 0 and math.isfinite(tensor.quantization.scale)):
            raise JerboaError(f"scale {tensor.quantization.scale} is not a positive number", where=tensor.name)
        if not -128 <= tensor.quantization.zero_point <= 127:
            raise JerboaError(f"zero point {tensor.quantization.zero_point} is not in -128..127", where=tensor.name)
    for node in graph:
        where = f"layer '{node.name}' ({node.operator.name})"
        if node.name in names:
            raise JerboaError("two layers have this name", where=where)
        names.add(node.name)
        for name in node.inputs:
            if name not in written:
                raise JerboaError(f"reads tensor '{name}' before anything writes it", where=where)
        if node.output in written:
            raise JerboaError(f"writes tensor '{node.output}' a second time", where=where)
        if node.output not in graph.tensors:
            raise JerboaError(f"writes tensor '{node.output}', which has no shape", where=where)
        inputs, output = graph.inputs_of(node), graph.output_of(node)
        shape = node.operator.infer([tensor.shape for tensor in inputs])
        if shape != output.shape:
            raise JerboaError(f"gives shape {shape} but its output says {output.shape}", where=where)
        for constraint in node.operator.constraints():
            if not constraint(node.operator, inputs, output):
                raise JerboaError((constraint.__doc__ or constraint.__name__).strip(), where=where)
        written.add(node.output)
    if graph.output not in written:
        raise JerboaError(f"nothing writes the graph's output '{graph.output}'", where=graph.name)
    if graph.labels and len(graph.labels) != graph.tensors[graph.output].size:
        raise JerboaError(f"{len(graph.labels)} labels for {graph.tensors[graph.output].size} outputs", where=graph.name)
    return graph
