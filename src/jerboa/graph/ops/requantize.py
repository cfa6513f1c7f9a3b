"""From int32 accumulators to int8: one multiplication, one rounding.

``q = clamp(zero_point + floor((acc * M + 2**(s-1)) / 2**s))`` with M an int32 in [2**30, 2**31): integer single
rounding, as CMSIS-NN offers it under ``CMSIS_NN_USE_SINGLE_ROUNDING``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from jerboa.graph.ir import Tensor

MAX_SHIFT = 62


def quantize_multiplier(real: float) -> tuple[int, int]:
    """``(M, s)`` with ``M / 2**s`` nearest to ``real``.

    A ``real`` too small for s <= 62 becomes (0, 62): every output is then the zero point, as its exact value rounds to.

    Raises:
        ValueError: ``real`` is not in 0 … 2**30.
    """
    if not 0 <= real < 2**30:
        raise ValueError(f"multiplier {real} is not in 0 … 2^30")
    if real == 0:
        return 0, MAX_SHIFT
    mantissa, exponent = math.frexp(real)
    multiplier = math.floor(mantissa * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, exponent = 2**30, exponent + 1
    shift = 31 - exponent
    return (multiplier, shift) if shift <= MAX_SHIFT else (0, MAX_SHIFT)


def quantize_multipliers(reals: NDArray[np.float64]) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """The same for one value per channel: int32 multipliers and int8 shifts."""
    pairs = [quantize_multiplier(float(real)) for real in reals]
    return np.array([m for m, _ in pairs], np.int32), np.array([s for _, s in pairs], np.int8)


def requantize(
    accumulator: NDArray[Any],
    multiplier: NDArray[np.int32],
    shift: NDArray[np.int8],
    zero_point: int,
    clamp: tuple[int, int] = (-128, 127),
) -> NDArray[np.int8]:
    """int8 outputs of int32 accumulators whose last axis is the channel."""
    s = shift.astype(np.int64)
    product = accumulator.astype(np.int64) * multiplier.astype(np.int64)
    rounded = (product + (np.int64(1) << (s - 1))) >> s
    return np.clip(rounded + zero_point, *clamp).astype(np.int8)


def shifts_in_range(op: Any, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Requantisation multipliers are below 2³¹ and shifts within 1…62."""
    return bool(((op.shift >= 1) & (op.shift <= MAX_SHIFT) & (op.multiplier >= 0)).all())


def clamp_is_ordered(op: Any, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The clamp lies in -128…127, lower bound first."""
    return -128 <= op.clamp[0] <= op.clamp[1] <= 127


def weights_are_narrow(op: Any, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """Weights are int8 within -127…127 (narrow range)."""
    return op.weights.dtype == np.int8 and (op.weights.size == 0 or int(op.weights.min()) >= -127)


def accumulator_fits(op: Any, inputs: Sequence[Tensor], output: Tensor) -> bool:
    """The largest possible accumulator of every channel, bias included, fits 32 bits."""
    axis = op.channel_axis % op.weights.ndim
    others = tuple(index for index in range(op.weights.ndim) if index != axis)
    zero = inputs[0].quantization.zero_point
    reach = max(127 - zero, 128 + zero)
    worst = np.abs(op.weights.astype(np.int64)).sum(axis=others) * reach + np.abs(op.bias.astype(np.int64))
    return bool((worst < 2**31).all())
