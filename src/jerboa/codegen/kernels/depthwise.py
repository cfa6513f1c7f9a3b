"""Depthwise convolution: plain C, and four channels of a word at once with SMLABB and SMLATT on widened halves."""

from __future__ import annotations

import numpy as np

from jerboa.codegen.kernels.window_c import row_loop
from jerboa.codegen.source import Code, Constant, Kernel, Layer, requantization_constants, store


def _emit_portable(layer: Layer) -> Code:
    op, (height, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, _ = layer.output.shape
    zero, name = layer.inputs[0].quantization.zero_point, layer.symbol
    tap = (
        f"acc += ((int32_t)x[(iy * {width} + ix) * {channels} + c] - ({zero}))"
        f" * {name}_weights[(ky * {op.kernel[1]} + kx) * {channels} + c];\n"
    )
    loop_x = row_loop(width, op.stride[1], op.dilation[1], op.kernel[1], op.padding[2], columns, "x", tap)
    loop_y = row_loop(height, op.stride[0], op.dilation[0], op.kernel[0], op.padding[0], rows, "y", loop_x)
    body = (
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"for (int32_t c = 0; c < {channels}; c++) {{\n"
        f"int32_t acc = {name}_bias[c];\n{loop_y}"
        f"*y++ = {store(layer, 'acc', 'c')};\n}}\n}}\n}}\n"
    )
    return Code(body, [Constant(f"{name}_weights", op.weights, "weights"), *requantization_constants(layer)])


def _tap(layer: Layer) -> str:
    """Pointer to the channels of tap (iy, ix), or to zero points where it lies in the padding."""
    height, width, channels = layer.inputs[0].shape
    inside = f"x + (iy * {width} + ix) * {channels}"
    if not any(layer.operator.padding):
        return inside
    return f"iy >= 0 && iy < {height} && ix >= 0 && ix < {width} ? {inside} : {_padding_row(layer)}"


def _padding_row(layer: Layer) -> str:
    """Name of the row of zero points; layers of the same width and zero point share it."""
    zero = layer.inputs[0].quantization.zero_point
    return f"kws_padding_{layer.output.shape[2]}_{'minus_' if zero < 0 else ''}{abs(zero)}"


def _emit_dsp(layer: Layer) -> Code:
    op, channels = layer.operator, layer.output.shape[2]
    rows, columns, _ = layer.output.shape
    zero, name = layer.inputs[0].quantization.zero_point, layer.symbol
    kernel_height, kernel_width = op.kernel
    taps = kernel_height * kernel_width
    stores = "".join(f"y[c + {c}] = {store(layer, f'acc[{c}]', f'c + {c}', dsp=True)};\n" for c in range(4))
    body = (
        f"const int8_t *tap[{taps}];\n"
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"int32_t t = 0;\n"
        f"for (int32_t ky = 0; ky < {kernel_height}; ky++) {{\n"
        f"const int32_t iy = oy * {op.stride[0]} + ky * {op.dilation[0]} - {op.padding[0]};\n"
        f"for (int32_t kx = 0; kx < {kernel_width}; kx++) {{\n"
        f"const int32_t ix = ox * {op.stride[1]} + kx * {op.dilation[1]} - {op.padding[2]};\n"
        f"tap[t++] = {_tap(layer)};\n}}\n}}\n"
        f"for (int32_t c = 0; c < {channels}; c += 4) {{\n"
        f"int32_t acc[4] = {{{', '.join(f'{name}_bias[c + {c}]' for c in range(4))}}};\n"
        f"kws_depthwise_4(tap, c, {name}_weights, {taps}, {channels}, {zero}, acc);\n{stores}}}\n"
        f"y += {channels};\n}}\n}}\n"
    )
    constants = [Constant(f"{name}_weights", op.weights, "weights"), *requantization_constants(layer)]
    if any(op.padding):
        constants.append(Constant(_padding_row(layer), np.full(channels, zero, np.int8), "tables"))
    return Code(body, constants)


KERNELS = (
    Kernel(
        "depthwise_dsp_4",
        "depthwise_conv2d",
        "dsp",
        _emit_dsp,
        supports=lambda layer: layer.output.shape[2] % 4 == 0,
    ),
    Kernel("depthwise_portable", "depthwise_conv2d", "portable", _emit_portable),
)
