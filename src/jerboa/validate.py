"""All executors against the NumPy definition, layer by layer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jerboa.build import compile as build_for
from jerboa.errors import JerboaError
from jerboa.executors import Executor
from jerboa.graph import Graph
from jerboa.graph.execute import trace


def validate(graph: Graph, target: str, compiler: str, inputs: int, seed: int) -> dict[str, Any]:
    """Compare host C, WASM and the emulated board on random int8 inputs.

    Returns:
        ``equal``, ``inputs``, ``layers`` and per executor its name, how many inputs were equal, and the first layer that was not.
        An executor whose optional part is not installed is named with the reason.
    """
    shape = graph.tensors[graph.input].shape
    features = np.random.default_rng(seed).integers(-128, 128, (inputs, *shape), dtype=np.int8)
    expected = trace(graph, features)
    rows = []
    with tempfile.TemporaryDirectory(prefix="jerboa-") as folder:
        for place in dict.fromkeys(("host", "wasm", target)):
            try:
                build = build_for(graph, place, compiler if place == target else "zig", folder=Path(folder))
                with build.executor(trace=True) as executor:
                    rows.append(_compare(executor, graph, features, expected))
            except JerboaError as error:
                if "is not installed" not in error.what or place == target:
                    raise
                rows.append({"executor": place, "skipped": str(error)})
    ran = [row for row in rows if "skipped" not in row]
    return {
        "model": graph.name,
        "inputs": inputs,
        "layers": len(graph.nodes),
        "equal": all(row["first_difference"] is None for row in ran),
        "executors": rows,
    }


def _compare(executor: Executor, graph: Graph, features: NDArray[np.int8], expected: dict[str, NDArray[np.int8]]) -> dict[str, Any]:
    equal, first = 0, None
    for index, clip in enumerate(features):
        found = executor.layers(clip)
        wrong = next((node for node in graph if not np.array_equal(found[node.output], expected[node.output][index])), None)
        if wrong is None:
            equal += 1
        elif first is None:
            first = {
                "layer": wrong.name,
                "input": index,
                "values": int(np.sum(found[wrong.output] != expected[wrong.output][index])),
            }
    return {"executor": executor.name, "equal_inputs": equal, "first_difference": first}
