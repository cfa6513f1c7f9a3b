"""graph.json: the one writer and the one reader of a graph on disk.

Every operator is written by its name and its dataclass fields; an array is ``{"dtype", "shape", "base64"}``,
little endian, C order.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from jerboa.errors import JerboaError
from jerboa.files import read_text, write_text
from jerboa.graph.ir import Graph, Node, Quantization, Tensor, verify
from jerboa.graph.ops import OPERATORS

FORMAT = "jerboa-graph-1"


def to_json(graph: Graph) -> str:
    return json.dumps(
        {
            "format": FORMAT,
            "name": graph.name,
            "labels": list(graph.labels),
            "frontend": graph.frontend,
            "input": graph.input,
            "output": graph.output,
            "tensors": [
                [tensor.name, list(tensor.shape), tensor.quantization.scale, tensor.quantization.zero_point]
                for tensor in graph.tensors.values()
            ],
            "nodes": [
                {
                    "name": node.name,
                    "operator": node.operator.name,
                    "inputs": list(node.inputs),
                    "output": node.output,
                    "attributes": {
                        field.name: _encode(getattr(node.operator, field.name))
                        for field in dataclasses.fields(node.operator)  # type: ignore[arg-type]
                    },
                }
                for node in graph
            ],
        },
        indent=1,
    )


def from_json(text: str, where: str = "graph.json") -> Graph:
    """Raises JerboaError when the text is no graph, or one that does not verify."""
    try:
        data = json.loads(text)
        if data["format"] != FORMAT:
            raise JerboaError(f"format '{data['format']}' is not readable here", where=where, allowed=FORMAT)
        tensors = {
            name: Tensor(name, (shape[0], shape[1], shape[2]), Quantization(float(scale), int(zero_point)))
            for name, shape, scale, zero_point in data["tensors"]
        }
        nodes = tuple(
            Node(
                item["name"],
                OPERATORS[item["operator"]](**{key: _decode(value) for key, value in item["attributes"].items()}),
                tuple(item["inputs"]),
                item["output"],
            )
            for item in data["nodes"]
        )
        graph = Graph(
            data["name"],
            tensors,
            nodes,
            data["input"],
            data["output"],
            tuple(data["labels"]),
            data["frontend"],
        )
    except (KeyError, TypeError, ValueError, IndexError, AttributeError, binascii.Error) as error:
        raise JerboaError(f"not a graph file ({type(error).__name__}: {error})", where=where) from None
    return verify(graph)


def save(graph: Graph, path: Path) -> None:
    """Write in one step. Raises JerboaError if the disk refuses."""
    write_text(path, to_json(graph))


def load(path: Path) -> Graph:
    return from_json(read_text(path), str(path))


def fingerprint(graph: Graph) -> str:
    """Sixteen hexadecimal digits that change with any shape, weight or scale."""
    return hashlib.sha256(to_json(graph).encode()).hexdigest()[:16]


def _encode(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        data = np.ascontiguousarray(value, dtype=value.dtype.newbyteorder("<"))
        return {
            "dtype": value.dtype.name,
            "shape": list(value.shape),
            "base64": base64.b64encode(data.tobytes()).decode(),
        }
    return list(value) if isinstance(value, tuple) else value


def _decode(value: Any) -> Any:
    if isinstance(value, dict):
        dtype = np.dtype(value["dtype"])
        raw = base64.b64decode(value["base64"], validate=True)
        return np.frombuffer(raw, dtype=dtype.newbyteorder("<")).astype(dtype).reshape(value["shape"])
    return tuple(value) if isinstance(value, list) else value
