"""What a network needs, found without compiling it."""

from __future__ import annotations

from typing import Any

from jerboa.codegen.emit import generate
from jerboa.graph import Graph
from jerboa.targets.target import load_target


def analyze(graph: Graph, target: str) -> dict[str, Any]:
    """MACs, parameters, RAM and constants in bytes, and per layer its kernel; the arena plan with its lower bound.

    Raises:
        JerboaError: unknown target, or a layer that no kernel supports.
    """
    board = load_target(target)
    generated = generate(graph, "dsp" if board.dsp else "portable")
    layers = [
        {
            "name": node.name,
            "op": node.operator.name,
            "kernel": generated.kernels[node.name],
            "output": list(graph.output_of(node).shape),
            "macs": graph.macs_of(node),
            "parameters": node.operator.parameters(),
        }
        for node in graph
    ]
    return {
        "model": graph.name,
        "target": target,
        "macs": graph.macs,
        "parameters": graph.parameters,
        "ram_bytes": {
            "arena": generated.arena_bytes,
            "arena_lower_bound": generated.plan.lower_bound,
            "state": generated.state_bytes,
        },
        "constant_bytes": {"weights": generated.weight_bytes, "tables": generated.table_bytes},
        "labels": list(graph.labels),
        "layers": layers,
        "arena_plan": [
            {"name": p.name, "offset": p.offset, "bytes": p.bytes, "first": p.first, "last": p.last}
            for p in generated.plan.placements.values()
        ],
    }
