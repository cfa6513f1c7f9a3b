"""Convolution: every output channel sees every input channel. 1-D temporal convolutions have width 1."""

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
class Conv2d(Windowed):
    """weights (outputs, kernel height, kernel width, inputs).

    padding is (top, bottom, left, right), filled with the input's zero point.
    """

    name: ClassVar[str] = "conv2d"
    channel_axis: ClassVar[int] = 0
    kernel_axes: ClassVar[Pair] = (1, 2)

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        zero = inputs[0].quantization.zero_point
        view = windows(arrays[0], self.kernel, self.stride, self.dilation, self.padding, zero)
        # Sums of integers below 2**53 are exact in float64, and only float matrix products are fast in NumPy.
        patches = view.reshape(*view.shape[:3], -1).astype(np.float64) - zero
        sums = patches @ self.weights.reshape(len(self.weights), -1).T.astype(np.float64)
        return self.requantized(sums.astype(np.int64), output)

    def constraints(self) -> tuple[Constraint, ...]:
        return (channels_match, window_fits, *ARITHMETIC)


def channels_match(op: Conv2d, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are (outputs, kernel height, kernel width, inputs) for the input's channels, without groups."""
    return op.weights.ndim == 4 and op.weights.shape[3] == inputs[0].shape[2] and len(op.bias) == len(op.weights)
