"""Depthwise convolution: every channel has a kernel of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint
from jerboa.graph.ops.weighted import ARITHMETIC, Windowed, window_fits
from jerboa.graph.ops.window import Pair, windows

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class DepthwiseConv2d(Windowed):
    """weights (kernel height, kernel width, channels).

    padding is (top, bottom, left, right), filled with the input's zero point.
    """

    name: ClassVar[str] = "depthwise_conv2d"
    channel_axis: ClassVar[int] = 2
    kernel_axes: ClassVar[Pair] = (0, 1)

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        zero = inputs[0].quantization.zero_point
        view = windows(arrays[0], self.kernel, self.stride, self.dilation, self.padding, zero)
        sums = np.zeros((*view.shape[:3], view.shape[5]), np.int32)
        for y in range(self.kernel[0]):
            for x in range(self.kernel[1]):
                sums += (view[:, :, :, y, x].astype(np.int32) - zero) * self.weights[y, x].astype(np.int32)
        return self.requantized(sums, output)

    def constraints(self) -> tuple[Constraint, ...]:
        return (one_kernel_per_channel, window_fits, *ARITHMETIC)


def one_kernel_per_channel(op: DepthwiseConv2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (kernel height, kernel width, channels) with one kernel per input channel (depth multiplier 1)."""
    channels = inputs[0].shape[2]
    return op.weights.ndim == 3 and op.weights.shape[2] == channels and len(op.bias) == channels
