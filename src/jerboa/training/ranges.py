"""Which real interval the 256 steps of an int8 activation should cover."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Method = Literal["minmax", "percentile", "mse"]
TAIL_PERCENT = 0.005
_SHRINKS = np.linspace(0.3, 1.0, 57)


def choose_range(sample: NDArray[np.float32], low: float, high: float, method: Method) -> tuple[float, float]:
    """The interval to quantise, always holding zero so that padding and ReLU are exact.

    Args:
        sample: values drawn from the activation.
        low, high: its true extremes.
        method: ``minmax`` keeps the extremes, ``percentile`` cuts 0.005 % on each side, ``mse`` shrinks the interval
            as long as the mean squared error of quantising the sample falls (Banner et al., arXiv 1810.05723, by search).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    if method == "percentile":
        cut = np.percentile(sample, [TAIL_PERCENT, 100 - TAIL_PERCENT])
        low, high = min(float(cut[0]), 0.0), max(float(cut[1]), 0.0)
    if high - low < 1e-6:
        return low, low + 1e-6
    if method == "mse":
        errors = [_error(sample, *affine(low * shrink, high * shrink)) for shrink in _SHRINKS]
        best = float(_SHRINKS[int(np.argmin(errors))])
        low, high = low * best, high * best
    return low, high


def affine(low: float, high: float) -> tuple[float, int]:
    """(scale, zero_point) of the int8 grid over ``low … high``, with ``low <= 0 <= high`` and one of them not zero."""
    scale = (high - low) / 255
    return scale, int(np.clip(round(-128 - low / scale), -128, 127))


def _error(sample: NDArray[np.float32], scale: float, zero_point: int) -> float:
    steps = np.clip(np.rint(sample / scale) + zero_point, -128, 127)
    return float(np.mean(((steps - zero_point) * scale - sample) ** 2))
