"""Depthwise convolution: every channel has a kernel of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape
from jerboa.graph.ops.conv import window_fits
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
class DepthwiseConv2d(Operator):
    """weights (kernel height, kernel width, channels).

    padding is (top, bottom, left, right), filled with the input's zero point.
    """

    name: ClassVar[str] = "depthwise_conv2d"
    channel_axis: ClassVar[int] = 2

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
        return (int(self.weights.shape[0]), int(self.weights.shape[1]))

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = window_shape(shapes[0], self.kernel, self.stride, self.dilation, self.padding)
        return (rows, columns, int(self.weights.shape[2]))

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        zero = inputs[0].quantization.zero_point
        view = windows(arrays[0], self.kernel, self.stride, self.dilation, self.padding, zero)
        accumulator = np.zeros((*view.shape[:3], view.shape[5]), np.int32) + self.bias
        for y in range(self.kernel[0]):
            for x in range(self.kernel[1]):
                accumulator += (view[:, :, :, y, x].astype(np.int32) - zero) * self.weights[y, x].astype(np.int32)
        return requantize(accumulator, self.multiplier, self.shift, output.quantization.zero_point, self.clamp)

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        return output.shape[0] * output.shape[1] * int(self.weights.size)

    def constraints(self) -> tuple[Constraint, ...]:
        return (
            one_kernel_per_channel,
            window_fits,
            weights_are_narrow,
            shifts_in_range,
            clamp_is_ordered,
            accumulator_fits,
        )


def one_kernel_per_channel(op: DepthwiseConv2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (kernel height, kernel width, channels) with one kernel per input channel (depth multiplier 1)."""
    channels = inputs[0].shape[2]
    return op.weights.ndim == 3 and op.weights.shape[2] == channels and len(op.bias) == channels
