"""The NumPy executor: the definition that all other executors equal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jerboa.errors import JerboaError
from jerboa.graph.ir import Graph


def run(graph: Graph, inputs: NDArray[np.int8]) -> NDArray[np.int8]:
    """Outputs (clips, outputs) of a batch of inputs (clips, height, width, channels), all int8."""
    last = trace(graph, inputs)[graph.output]
    return last.reshape(len(last), -1)


def trace(graph: Graph, inputs: NDArray[np.int8]) -> dict[str, NDArray[np.int8]]:
    """Every tensor of the graph by name, each (clips, height, width, channels)."""
    shape = graph.tensors[graph.input].shape
    if inputs.dtype != np.int8 or inputs.size % int(np.prod(shape)) or len(inputs) == 0:
        raise JerboaError(
            f"input is {inputs.dtype} of shape {inputs.shape}",
            where=graph.name,
            allowed=f"int8 (clips, {shape})",
        )
    values = {graph.input: inputs.reshape(-1, *shape)}
    for node in graph:
        values[node.output] = node.operator.evaluate(
            [values[name] for name in node.inputs], graph.inputs_of(node), graph.output_of(node)
        )
    return values
