"""Fully connected layer over all values of its input, in (height, width, channel) order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Shape
from jerboa.graph.ops.weighted import ARITHMETIC, Weighted

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class Dense(Weighted):
    """weights (outputs, inputs); the output has shape (1, 1, outputs)."""

    name: ClassVar[str] = "dense"
    channel_axis: ClassVar[int] = 0

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (1, 1, len(self.weights))

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        flat = arrays[0].reshape(len(arrays[0]), 1, 1, -1).astype(np.float64)
        # Exact: sums of integers below 2**53.
        sums = (flat - inputs[0].quantization.zero_point) @ self.weights.T.astype(np.float64)
        return self.requantized(sums.astype(np.int64), output)

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        return int(self.weights.size)

    def constraints(self) -> tuple[Constraint, ...]:
        return (inputs_match, *ARITHMETIC)


def inputs_match(op: Dense, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (outputs, inputs) with as many inputs as the input tensor has values."""
    return op.weights.ndim == 2 and op.weights.shape[1] == math.prod(inputs[0].shape) and len(op.bias) == len(op.weights)
