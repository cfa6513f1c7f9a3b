"""Per-clip normalisation: subtract the clip's mean, divide by its standard deviation, all in integers.

With n values, ``S`` their sum and ``Q`` the sum of their squares, ``D = isqrt(n*Q - S*S)`` is n times the standard
deviation in input steps. ``R = floor((gain << 16) / max(D, 1))`` and
``q = clamp(zero_point + ((n*x - S) * R + 2**23 >> 24))`` where gain is 256 over the output's scale.
The keyword spotter of arXiv 2208.02765 normalises each clip so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import isqrt
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from jerboa.graph.ops.base import Constraint, Operator, Shape

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor


@dataclass(frozen=True, eq=False)
class ClipNormalize(Operator):
    """``gain`` is round(256 / output scale)."""

    name: ClassVar[str] = "clip_normalize"
    in_place: ClassVar[tuple[int, ...]] = (0,)

    gain: int

    def infer(self, shapes: Sequence[Shape]) -> Shape:
        return shapes[0]

    def evaluate(self, arrays: Sequence[NDArray[np.int8]], inputs: Sequence[Tensor], output: Tensor) -> NDArray[np.int8]:
        flat = arrays[0].reshape(len(arrays[0]), -1).astype(np.int64)
        count = flat.shape[1]
        total = flat.sum(axis=1)
        variance = count * (flat * flat).sum(axis=1) - total * total
        deviation = np.array([max(isqrt(int(value)), 1) for value in variance], np.int64)
        reciprocal = (self.gain << 16) // deviation
        scaled = ((count * flat - total[:, None]) * reciprocal[:, None] + (1 << 23)) >> 24
        return np.clip(scaled + output.quantization.zero_point, -128, 127).astype(np.int8).reshape(arrays[0].shape)

    def constraints(self) -> tuple[Constraint, ...]:
        return (clip_is_small, gain_fits)


def clip_is_small(op: ClipNormalize, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """A clip has at most 65,536 values, so that its sums fit their words."""
    return inputs[0].size <= 65536


def gain_fits(op: ClipNormalize, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The output's scale lies in 2⁻⁷…16, and the gain is 256 over it."""
    return 16 <= op.gain <= 32768 and op.gain == round(256 / output.quantization.scale)
