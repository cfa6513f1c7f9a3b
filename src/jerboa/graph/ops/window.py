"""Sliding windows shared by convolution, depthwise convolution and pooling."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Pair = tuple[int, int]
Padding = tuple[int, int, int, int]


def output_extent(size: int, kernel: int, stride: int, dilation: int, before: int, after: int) -> int:
    """Positions of a kernel along one axis; 0 or less when it does not fit."""
    return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1


def window_shape(shape: tuple[int, int, int], kernel: Pair, stride: Pair, dilation: Pair, padding: Padding) -> Pair:
    """Output height and width; ``padding`` is (top, bottom, left, right)."""
    return (
        output_extent(shape[0], kernel[0], stride[0], dilation[0], padding[0], padding[1]),
        output_extent(shape[1], kernel[1], stride[1], dilation[1], padding[2], padding[3]),
    )


def windows(array: NDArray[Any], kernel: Pair, stride: Pair, dilation: Pair, padding: Padding, fill: int) -> NDArray[Any]:
    """(clips, rows, columns, kernel height, kernel width, channels) view of (clips, height, width, channels)."""
    top, bottom, left, right = padding
    padded = np.pad(array, ((0, 0), (top, bottom), (left, right), (0, 0)), constant_values=fill)
    rows, columns = window_shape(array.shape[1:], kernel, stride, dilation, padding)
    clip, height, width, channel = padded.strides
    return np.lib.stride_tricks.as_strided(
        padded,
        (len(array), rows, columns, kernel[0], kernel[1], array.shape[3]),
        (clip, height * stride[0], width * stride[1], height * dilation[0], width * dilation[1], channel),
        writeable=False,
    )
