"""Per-clip normalisation: sums, one square root, one reciprocal, then a multiplication per value."""

from __future__ import annotations

from jerboa.codegen.source import Code, Kernel, Layer


def _emit(layer: Layer) -> Code:
    size, zero = layer.output.size, layer.output.quantization.zero_point
    body = (
        "int32_t sum = 0;\nuint32_t squares = 0;\n"
        f"for (int32_t i = 0; i < {size}; i++) {{ sum += x[i]; squares += (uint32_t)(x[i] * x[i]); }}\n"
        f"const uint64_t variance = (uint64_t)squares * {size}u - (uint64_t)((int64_t)sum * sum);\n"
        "uint32_t deviation = kws_square_root(variance);\n"
        "if (deviation == 0u) { deviation = 1u; }\n"
        f"const int64_t reciprocal = (int64_t)kws_quotient({layer.operator.gain << 16}u, deviation, 32);\n"
        f"for (int32_t i = 0; i < {size}; i++) {{\n"
        f"const int64_t scaled = ((int64_t)({size} * (int32_t)x[i] - sum) * reciprocal + 8388608) >> 24;\n"
        f"const int64_t value = scaled + ({zero});\n"
        "y[i] = (int8_t)(value < -128 ? -128 : (value > 127 ? 127 : value));\n}\n"
    )
    return Code(body)


KERNELS = (Kernel("clip_normalize_portable", "clip_normalize", "portable", _emit),)
