"""Convolution: every output channel sees every input channel. 1-D temporal convolutions have width 1."""

from __future__ import annotations

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
from jerboa.graph.ops.window import Padding, Pair, window_shape, windows

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class Conv2d(Operator):
    """weights (outputs, kernel height, kernel width, inputs).

    padding is (top, bottom, left, right), filled with the input's zero point.
    """

    name: ClassVar[str] = "conv2d"
    channel_axis: ClassVar[int] = 0

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)
    clamp: Pair = (-128, 127)

    @property
    def kernel(self) -> Pair:
        return (int(self.weights.shape[1]), int(self.weights.shape[2]))

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = window_shape(shapes[0], self.kernel, self.stride, self.dilation, self.padding)
        return (rows, columns, len(self.weights))

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        zero = inputs[0].quantization.zero_point
        view = windows(arrays[0], self.kernel, self.stride, self.dilation, self.padding, zero)
        # Sums of integers below 2**53 are exact in float64, and only float matrix products are fast in NumPy.
        patches = view.reshape(*view.shape[:3], -1).astype(np.float64) - zero
        sums = patches @ self.weights.reshape(len(self.weights), -1).T.astype(np.float64)
        accumulator = sums.astype(np.int64) + self.bias
        return requantize(accumulator, self.multiplier, self.shift, output.quantization.zero_point, self.clamp)

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        return output.shape[0] * output.shape[1] * int(self.weights.size)

    def constraints(self) -> tuple[Constraint, ...]:
        return (
            channels_match,
            window_fits,
            weights_are_narrow,
            shifts_in_range,
            clamp_is_ordered,
            accumulator_fits,
        )


def channels_match(op: Conv2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (outputs, kernel height, kernel width, inputs) for the input's channels, without groups."""
    return op.weights.ndim == 4 and op.weights.shape[3] == inputs[0].shape[2] and len(op.bias) == len(op.weights)


def window_fits(op: Conv2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The dilated kernel fits into the padded input, and padding is smaller than the dilated kernel."""
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(op.kernel, op.dilation)]
    top, bottom, left, right = op.padding
    return min(output.shape[:2]) >= 1 and max(top, bottom) < reach[0] and max(left, right) < reach[1]
