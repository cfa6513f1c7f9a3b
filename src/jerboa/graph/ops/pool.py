"""Average and maximum over windows; the mean over a whole map is an average with the map's size as kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape
from jerboa.graph.ops.requantize import clamp_is_ordered, requantize, shifts_in_range
from jerboa.graph.ops.window import Padding, Pair, window_shape, windows

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class AveragePool2d(Operator):
    """Mean of a window without padding; ``multiplier`` holds scale_in / (scale_out * window size)."""

    name: ClassVar[str] = "average_pool2d"

    kernel: Pair
    stride: Pair
    multiplier: NDArray[np.int32]
    shift: NDArray[np.int8]
    clamp: Pair = (-128, 127)

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = window_shape(shapes[0], self.kernel, self.stride, (1, 1), (0, 0, 0, 0))
        return (rows, columns, shapes[0][2])

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        view = windows(arrays[0], self.kernel, self.stride, (1, 1), (0, 0, 0, 0), 0)
        sums = view.astype(np.int32).sum(axis=(3, 4), dtype=np.int64)
        sums -= inputs[0].quantization.zero_point * self.kernel[0] * self.kernel[1]
        return requantize(sums, self.multiplier, self.shift, output.quantization.zero_point, self.clamp)

    def constraints(self) -> tuple[Constraint, ...]:
        return (window_is_inside, window_is_small, shifts_in_range, clamp_is_ordered)


@dataclass(frozen=True, eq=False)
class MaxPool2d(Operator):
    """Largest value of a window; padding never wins. Input and output share scale and zero point."""

    name: ClassVar[str] = "max_pool2d"

    kernel: Pair
    stride: Pair
    padding: Padding = (0, 0, 0, 0)

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        rows, columns = window_shape(shapes[0], self.kernel, self.stride, (1, 1), self.padding)
        return (rows, columns, shapes[0][2])

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        return windows(arrays[0], self.kernel, self.stride, (1, 1), self.padding, -128).max(axis=(3, 4))

    def constraints(self) -> tuple[Constraint, ...]:
        return (same_quantization, padding_is_small, window_is_inside)


def window_is_inside(op: AveragePool2d | MaxPool2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The window fits into the input at least once."""
    return min(output.shape[:2]) >= 1


def window_is_small(op: AveragePool2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """A window has at most 65,536 values, so that their sum fits 32 bits."""
    return op.kernel[0] * op.kernel[1] <= 65536


def same_quantization(op: MaxPool2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Input and output share scale and zero point."""
    return inputs[0].quantization == output.quantization


def padding_is_small(op: MaxPool2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Padding is smaller than the window, so that every window holds a value."""
    top, bottom, left, right = op.padding
    return max(top, bottom) < op.kernel[0] and max(left, right) < op.kernel[1]
