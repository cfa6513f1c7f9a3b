"""What convolution, depthwise convolution and dense layers have in common: int8 weights, int32 bias, requantisation by channel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape
from jerboa.graph.ops.requantize import accumulator_fits, clamp_is_ordered, requantize, shifts_in_range, weights_are_narrow
from jerboa.graph.ops.window import Padding, Pair, window_shape

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor

ARITHMETIC: tuple[Constraint, ...] = (weights_are_narrow, shifts_in_range, clamp_is_ordered, accumulator_fits)


@dataclass(frozen=True, eq=False)
class Weighted(Operator):
    """``bias``, ``multiplier`` and ``shift`` have one value per output channel: axis ``channel_axis`` of ``weights``."""

    channel_axis: ClassVar[int]

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]
    clamp: Pair = field(default=(-128, 127), kw_only=True)

    def requantized(self, sums: NDArray[Any], output: Tensor) -> NDArray[np.int8]:
        """int8 outputs of sums without bias, channels last."""
        return requantize(sums + self.bias, self.multiplier, self.shift, output.quantization.zero_point, self.clamp)


@dataclass(frozen=True, eq=False)
class Windowed(Weighted):
    """A kernel that slides; padding is (top, bottom, left, right), filled with the input's zero point."""

    kernel_axes: ClassVar[Pair]

    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    padding: Padding = (0, 0, 0, 0)

    @property
    def kernel(self) -> Pair:
        first, second = self.kernel_axes
        return (int(self.weights.shape[first]), int(self.weights.shape[second]))

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = window_shape(shapes[0], self.kernel, self.stride, self.dilation, self.padding)
        return (rows, columns, int(self.weights.shape[self.channel_axis]))

    def macs(self, inputs: Sequence[Tensor], output: Tensor) -> int:
        return output.shape[0] * output.shape[1] * int(self.weights.size)


def window_fits(op: Windowed, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The dilated kernel fits into the padded input, and padding is smaller than the dilated kernel."""
    reach = [(size - 1) * dilation + 1 for size, dilation in zip(op.kernel, op.dilation)]
    top, bottom, left, right = op.padding
    return min(output.shape[:2]) >= 1 and max(top, bottom) < reach[0] and max(left, right) < reach[1]
