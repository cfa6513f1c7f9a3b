"""Fully connected layer over all values of its input, in (height, width, channel) order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape
from jerboa.graph.ops.requantize import (
    accumulator_fits,
    clamp_is_ordered,
    requantize,
    shifts_in_range,
    weights_are_narrow,
)
from jerboa.graph.ops.window import Pair

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class Dense(Operator):
    """weights (outputs, inputs); the output has shape (1, 1, outputs)."""

    name: ClassVar[str] = "dense"
    channel_axis: ClassVar[int] = 0

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]
    clamp: Pair = (-128, 127)

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return (1, 1, len(self.weights))

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        flat = arrays[0].reshape(len(arrays[0]), 1, 1, -1).astype(np.float64)
        # Exact: sums of integers below 2**53.
        sums = (flat - inputs[0].quantization.zero_point) @ self.weights.T.astype(np.float64)
        accumulator = sums.astype(np.int64) + self.bias
        return requantize(accumulator, self.multiplier, self.shift, output.quantization.zero_point, self.clamp)

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        return int(self.weights.size)

    def constraints(self) -> tuple[Constraint, ...]:
        return (inputs_match, weights_are_narrow, shifts_in_range, clamp_is_ordered, accumulator_fits)


def inputs_match(op: Dense, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (outputs, inputs) with as many inputs as the input tensor has values."""
    return op.weights.ndim == 2 and op.weights.shape[1] == math.prod(inputs[0].shape) and len(op.bias) == len(op.weights)
