"""Convolution and dense in plain C: one accumulator, taps outside, channels inside."""

from __future__ import annotations

import math

from jerboa.codegen.kernels.window_c import row_loop
from jerboa.codegen.source import Code, Constant, Kernel, Layer, requantization_constants, store


def _emit_conv(layer: Layer) -> Code:
    op, (height, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, outputs = layer.output.shape
    zero = layer.inputs[0].quantization.zero_point
    kernel_height, kernel_width = op.kernel
    name = layer.symbol
    taps = (
        f"const int8_t *p = x + (iy * {width} + ix) * {channels};\n"
        f"const int8_t *w = {name}_weights + ((o * {kernel_height} + ky) * {kernel_width} + kx) * {channels};\n"
        f"for (int32_t c = 0; c < {channels}; c++) {{ acc += ((int32_t)p[c] - ({zero})) * w[c]; }}\n"
    )
    loop_x = row_loop(width, op.stride[1], op.dilation[1], kernel_width, op.padding[2], columns, "x", taps)
    loop_y = row_loop(height, op.stride[0], op.dilation[0], kernel_height, op.padding[0], rows, "y", loop_x)
    body = (
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"for (int32_t o = 0; o < {outputs}; o++) {{\n"
        f"int32_t acc = {name}_bias[o];\n{loop_y}"
        f"*y++ = {store(layer, 'acc', 'o')};\n}}\n}}\n}}\n"
    )
    return Code(body, [Constant(f"{name}_weights", op.weights, "weights"), *requantization_constants(layer)])


def _emit_dense(layer: Layer) -> Code:
    name, zero = layer.symbol, layer.inputs[0].quantization.zero_point
    inputs, outputs = math.prod(layer.inputs[0].shape), layer.output.size
    body = (
        f"const int8_t *w = {name}_weights;\n"
        f"for (int32_t o = 0; o < {outputs}; o++) {{\n"
        f"int32_t acc = {name}_bias[o];\n"
        f"for (int32_t c = 0; c < {inputs}; c++) {{ acc += ((int32_t)x[c] - ({zero})) * w[c]; }}\n"
        f"w += {inputs};\n"
        f"y[o] = {store(layer, 'acc', 'o')};\n}}\n"
    )
    return Code(body, [Constant(f"{name}_weights", layer.operator.weights, "weights"), *requantization_constants(layer)])


KERNELS = (
    Kernel("conv2d_portable", "conv2d", "portable", _emit_conv),
    Kernel("dense_portable", "dense", "portable", _emit_dense),
)
