"""Sum of two tensors of one shape, as in a residual block.

``q = clamp(zero_point + round_half_up(((a - za) * A + (b - zb) * B) / 2**s))`` in 32 bits: A and B are at
most 2**21, so the sum of two 9-bit by 22-bit products, rounding included, stays below 2**31.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape
from jerboa.graph.ops.requantize import clamp_is_ordered
from jerboa.graph.ops.window import Pair

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor

MULTIPLIER_BITS = 21


@dataclass(frozen=True, eq=False)
class Add(Operator):
    """``multipliers`` are (A, B) and ``shift`` is s of the definition above."""

    name: ClassVar[str] = "add"
    in_place: ClassVar[tuple[int, ...]] = (0, 1)

    multipliers: Pair
    shift: int
    clamp: Pair = (-128, 127)

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        total = sum(
            (array.astype(np.int32) - tensor.quantization.zero_point) * np.int32(multiplier)
            for array, tensor, multiplier in zip(arrays, inputs, self.multipliers)
        )
        rounded = (np.asarray(total) + np.int32(1 << (self.shift - 1))) >> self.shift
        return np.clip(rounded + output.quantization.zero_point, *self.clamp).astype(np.int8)

    def constraints(self) -> tuple[Constraint, ...]:
        return (shapes_equal, sum_fits, clamp_is_ordered)


def quantize_multipliers(first: float, second: float) -> tuple[Pair, int]:
    """(A, B) and s for the two ratios of input scale to output scale.

    Raises:
        ValueError: a ratio is not positive or too large (2**20 and more).
    """
    largest = max(first, second)
    if min(first, second) <= 0 or not largest < 2**20:
        raise ValueError(f"scale ratios {first}, {second} are not in 0 … 2^20")
    shift = MULTIPLIER_BITS - math.frexp(largest)[1]
    shift = min(shift, 29)
    return (round(first * 2**shift), round(second * 2**shift)), shift


def shapes_equal(op: Add, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Both inputs have the same shape (no broadcasting)."""
    return len(inputs) == 2 and inputs[0].shape == inputs[1].shape


def sum_fits(op: Add, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Multipliers are in 0…2²¹ and the shift in 1…29, so that the sum fits 32 bits."""
    return 1 <= op.shift <= 29 and all(0 <= value <= 1 << MULTIPLIER_BITS for value in op.multipliers)
