"""Average and maximum pooling; with DSP instructions the average sums four channels by two lane-wise additions."""

from __future__ import annotations

from jerboa.codegen.kernels.window_c import row_loop
from jerboa.codegen.source import Code, Kernel, Layer, requantization_constants, store


def _emit_average(layer: Layer) -> Code:
    op, (_, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, _ = layer.output.shape
    offset = -layer.inputs[0].quantization.zero_point * op.kernel[0] * op.kernel[1]
    body = (
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"const int8_t *corner = x + (oy * {op.stride[0] * width} + ox * {op.stride[1]}) * {channels};\n"
        f"for (int32_t c = 0; c < {channels}; c++) {{\n"
        f"int32_t acc = {offset};\n"
        f"for (int32_t ky = 0; ky < {op.kernel[0]}; ky++) {{\n"
        f"for (int32_t kx = 0; kx < {op.kernel[1]}; kx++) {{\n"
        f"acc += corner[(ky * {width} + kx) * {channels} + c];\n}}\n}}\n"
        f"*y++ = {store(layer, 'acc', '0')};\n}}\n}}\n}}\n"
    )
    return Code(body, requantization_constants(layer))


def _emit_average_dsp(layer: Layer) -> Code:
    op, (_, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, _ = layer.output.shape
    offset = -layer.inputs[0].quantization.zero_point * op.kernel[0] * op.kernel[1]
    lanes = ["(int16_t)even", "(int16_t)odd", "(int16_t)(even >> 16)", "(int16_t)(odd >> 16)"]
    stores = "".join(f"y[{i}] = {store(layer, f'(int32_t){lane} + ({offset})', '0', dsp=True)};\n" for i, lane in enumerate(lanes))
    body = (
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"const int8_t *corner = x + (oy * {op.stride[0] * width} + ox * {op.stride[1]}) * {channels};\n"
        f"for (int32_t c = 0; c < {channels}; c += 4) {{\n"
        f"uint32_t even = 0;\nuint32_t odd = 0;\n"
        f"for (int32_t ky = 0; ky < {op.kernel[0]}; ky++) {{\n"
        f"for (int32_t kx = 0; kx < {op.kernel[1]}; kx++) {{\n"
        f"const uint32_t word = kws_load(corner + (ky * {width} + kx) * {channels} + c);\n"
        f"even = kws_sxtab16(even, word);\nodd = kws_sxtab16_ror8(odd, word);\n}}\n}}\n"
        f"{stores}y += 4;\n}}\n}}\n}}\n"
    )
    return Code(body, requantization_constants(layer))


def _lanes_hold(layer: Layer) -> bool:
    """Sixteen-bit lanes hold the sum of at most 256 values."""
    op = layer.operator
    return layer.output.shape[2] % 4 == 0 and op.kernel[0] * op.kernel[1] <= 256


def _emit_max(layer: Layer) -> Code:
    op, (height, width, channels) = layer.operator, layer.inputs[0].shape
    rows, columns, _ = layer.output.shape
    tap = f"const int8_t value = x[(iy * {width} + ix) * {channels} + c];\nif (value > best) {{ best = value; }}\n"
    loop_x = row_loop(width, op.stride[1], 1, op.kernel[1], op.padding[2], columns, "x", tap)
    loop_y = row_loop(height, op.stride[0], 1, op.kernel[0], op.padding[0], rows, "y", loop_x)
    body = (
        f"for (int32_t oy = 0; oy < {rows}; oy++) {{\n"
        f"for (int32_t ox = 0; ox < {columns}; ox++) {{\n"
        f"for (int32_t c = 0; c < {channels}; c++) {{\n"
        f"int8_t best = -128;\n{loop_y}*y++ = best;\n}}\n}}\n}}\n"
    )
    return Code(body)


KERNELS = (
    Kernel("average_pool_dsp_4", "average_pool2d", "dsp", _emit_average_dsp, supports=_lanes_hold),
    Kernel("average_pool_portable", "average_pool2d", "portable", _emit_average),
    Kernel("max_pool_portable", "max_pool2d", "portable", _emit_max),
)
