"""Softmax over all values: logits in, posteriors with scale 1/256 and zero point -128 out.

``t[d] = round(2**16 * exp(-scale * d))`` for the distance d to the largest logit is a table, cut where it reaches
zero; ``q = min(255, floor((256 * t + sum // 2) / sum)) - 128``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor

SCALE, ZERO_POINT = 1 / 256, -128


@dataclass(frozen=True, eq=False)
class Softmax(Operator):
    """``table`` is t of the definition above, uint32, without its zeros."""

    name: ClassVar[str] = "softmax"
    in_place: ClassVar[tuple[int, ...]] = (0,)

    table: NDArray[np.uint32]

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        logits = arrays[0].reshape(len(arrays[0]), -1).astype(np.int64)
        padded = np.zeros(256, np.int64)
        padded[: len(self.table)] = self.table
        terms = padded[logits.max(axis=1, keepdims=True) - logits]
        total = terms.sum(axis=1, keepdims=True)
        posteriors = np.minimum((256 * terms + total // 2) // total, 255) - 128
        return posteriors.astype(np.int8).reshape(arrays[0].shape)

    def constraints(self) -> tuple[Constraint, ...]:
        return (few_classes, output_is_posterior, table_is_bounded)


def exponential_table(scale: float) -> NDArray[np.uint32]:
    """The table of a logit scale."""
    table = np.floor(2.0**16 * np.exp(-scale * np.arange(256)) + 0.5).astype(np.uint32)
    return table[: int(np.count_nonzero(table))]


def few_classes(op: Softmax, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """At most 32,768 values, so that the sum of their terms fits 32 bits."""
    return inputs[0].size <= 32768


def output_is_posterior(op: Softmax, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The output has scale 1/256 and zero point -128."""
    return (output.quantization.scale, output.quantization.zero_point) == (SCALE, ZERO_POINT)


def table_is_bounded(op: Softmax, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The table has 1 to 256 entries, none above 2¹⁶, the first one 2¹⁶."""
    return 1 <= len(op.table) <= 256 and int(op.table[0]) == 65536 == int(op.table.max())
