"""Convolution and dense with SMLAD: a patch of int16 inputs for two pixels against two output channels.

The patch of one output pixel (kernel height × kernel width × channels, zero point subtracted, zeros in the padding, rounded up to a
multiple of four) is gathered once and serves all output channels. The weights of channels c and c+1 alternate word by word; a word
holds taps (k, k+2, k+1, k+3), so that SXTB16 of the word and of the word rotated by 8 give the pairs (k, k+1) and (k+2, k+3).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from jerboa.codegen.source import Code, Constant, Kernel, Layer, requantization_constants, store


def pack_pairs(weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """(outputs, taps) → the byte order above; an odd last channel follows alone. Taps are zero-padded to a multiple of four."""
    outputs, taps = weights.shape
    padded = np.zeros((outputs, -(-taps // 4) * 4), np.int8)
    padded[:, :taps] = weights
    words = padded.reshape(outputs, -1, 4)[:, :, [0, 2, 1, 3]]
    paired = words[: outputs // 2 * 2].reshape(outputs // 2, 2, padded.shape[1] // 4, 4).transpose(0, 2, 1, 3)
    return np.concatenate([paired.ravel(), words[outputs // 2 * 2 :].ravel()])


def _taps(layer: Layer) -> int:
    return -(-(layer.operator.weights.size // layer.output.shape[2]) // 4) * 4


def _pixels_at_once(layer: Layer) -> int:
    return min(2, layer.output.shape[0] * layer.output.shape[1])


def _scratch(layer: Layer) -> int:
    return 2 * _taps(layer) * _pixels_at_once(layer)


def _block(layer: Layer, pixels: int, channels: int) -> str:
    """One call of the dot product and its stores, for output channel o of pixel pointer y."""
    name, taps, outputs = layer.symbol, _taps(layer), layer.output.shape[2]
    lines = [f"int32_t acc[4] = {{{', '.join(f'{name}_bias[o + {c}]' for _ in range(pixels) for c in range(channels))}}};"]
    lines.append(f"kws_dot(patch, w, {taps // 4}, {pixels}, {channels}, acc);")
    lines.append(f"w += {taps * channels};")
    for pixel in range(pixels):
        for channel in range(channels):
            value = store(layer, f"acc[{pixel * channels + channel}]", f"o + {channel}", dsp=True)
            lines.append(f"y[o + {pixel * outputs + channel}] = {value};")
    return "\n".join(lines) + "\n"


def _channels(layer: Layer, pixels: int) -> str:
    """All output channels of the gathered pixels."""
    outputs = layer.output.shape[2]
    text = f"const int8_t *w = {layer.symbol}_weights;\n"
    if outputs >= 2:
        text += f"for (int32_t o = 0; o < {outputs // 2 * 2}; o += 2) {{\n{_block(layer, pixels, 2)}}}\n"
    if outputs % 2:
        text += f"{{\nconst int32_t o = {outputs - 1};\n{_block(layer, pixels, 1)}}}\n"
    return text + f"y += {pixels * outputs};\n"


def _gather(layer: Layer, pixel: str, target: str) -> str:
    """Fill the patch at ``target`` for output pixel number ``pixel``."""
    op, (height, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, _ = layer.output.shape
    kernel_height, kernel_width = op.kernel
    zero = layer.inputs[0].quantization.zero_point
    taps, real = _taps(layer), kernel_height * kernel_width * channels
    row = f"({pixel}) / {columns}" if columns > 1 else f"({pixel})"
    column = f"({pixel}) % {columns}" if rows > 1 and columns > 1 else (f"({pixel})" if columns > 1 else "0")
    if rows == 1:
        row = "0"
    text = (
        f"{{\nint16_t *p = {target};\n"
        f"const int32_t iy0 = ({row}) * {op.stride[0]} - {op.padding[0]};\n"
        f"const int32_t ix0 = ({column}) * {op.stride[1]} - {op.padding[2]};\n"
        f"for (int32_t ky = 0; ky < {kernel_height}; ky++) {{\n"
        f"const int32_t iy = iy0 + ky * {op.dilation[0]};\n"
    )
    span = kernel_width * channels
    if op.padding[0] or op.padding[1]:
        text += f"if (iy < 0 || iy >= {height}) {{ kws_zero(p, {span}); p += {span}; continue; }}\n"
    text += f"const int8_t *line = x + iy * {width * channels};\n"
    if op.dilation[1] == 1 and not (op.padding[2] or op.padding[3]):
        text += f"kws_widen(p, line + ix0 * {channels}, {span}, {zero});\np += {span};\n"
    elif op.dilation[1] == 1:
        text += (
            f"const int32_t lead = ix0 < 0 ? -ix0 : 0;\n"
            f"const int32_t end = ix0 + {kernel_width} > {width} ? {width} - ix0 : {kernel_width};\n"
            f"kws_zero(p, lead * {channels});\n"
            f"kws_widen(p + lead * {channels}, line + (ix0 + lead) * {channels}, (end - lead) * {channels}, {zero});\n"
            f"kws_zero(p + end * {channels}, ({kernel_width} - end) * {channels});\n"
            f"p += {span};\n"
        )
    else:
        text += (
            f"for (int32_t kx = 0; kx < {kernel_width}; kx++) {{\n"
            f"const int32_t ix = ix0 + kx * {op.dilation[1]};\n"
            f"if (ix < 0 || ix >= {width}) {{ kws_zero(p, {channels}); }}\n"
            f"else {{ kws_widen(p, line + ix * {channels}, {channels}, {zero}); }}\n"
            f"p += {channels};\n}}\n"
        )
    text += "}\n"
    if taps > real:
        text += f"kws_zero(p, {taps - real});\n"
    return text + "}\n"


def _emit_conv(layer: Layer) -> Code:
    pixels, taps, outputs = layer.output.shape[0] * layer.output.shape[1], _taps(layer), layer.output.shape[2]
    body = "int16_t *const patch = (int16_t *)(void *)scratch;\n"
    if pixels >= 2:
        body += (
            f"for (int32_t pixel = 0; pixel < {pixels // 2 * 2}; pixel += 2) {{\n"
            f"{_gather(layer, 'pixel', 'patch')}{_gather(layer, 'pixel + 1', f'patch + {taps}')}"
            f"{_channels(layer, 2)}}}\n"
        )
    if pixels % 2:
        body += f"{{\n{_gather(layer, str(pixels - 1), 'patch')}{_channels(layer, 1)}}}\n"
    weights = pack_pairs(layer.operator.weights.reshape(outputs, -1))
    return Code(body, [Constant(f"{layer.symbol}_weights", weights, "weights"), *requantization_constants(layer)])


def _emit_dense(layer: Layer) -> Code:
    inputs, zero = math.prod(layer.inputs[0].shape), layer.inputs[0].quantization.zero_point
    taps = _taps(layer)
    body = f"int16_t *const patch = (int16_t *)(void *)scratch;\nkws_widen(patch, x, {inputs}, {zero});\n"
    if taps > inputs:
        body += f"kws_zero(patch + {inputs}, {taps - inputs});\n"
    weights = pack_pairs(layer.operator.weights)
    return Code(
        body + _channels(layer, 1),
        [Constant(f"{layer.symbol}_weights", weights, "weights"), *requantization_constants(layer)],
    )


KERNELS = (
    Kernel("conv2d_dsp_2x2", "conv2d", "dsp", _emit_conv, scratch=_scratch),
    Kernel("dense_dsp_1x2", "dense", "dsp", _emit_dense, scratch=_scratch),
)
