"""Residual sum; both zero points and the rounding fold into one constant."""

from __future__ import annotations

from jerboa.codegen.source import Code, Kernel, Layer, clamped


def _value(layer: Layer, first: str, second: str, dsp: bool = False) -> str:
    op = layer.operator
    zeros = [tensor.quantization.zero_point for tensor in layer.inputs]
    constant = (1 << (op.shift - 1)) - sum(zero * factor for zero, factor in zip(zeros, op.multipliers))
    total = f"({first}) * {op.multipliers[0]} + ({second}) * {op.multipliers[1]} + ({constant})"
    return clamped(f"({total}) >> {op.shift}", layer.output.quantization.zero_point, op.clamp, dsp)


def _emit_portable(layer: Layer) -> Code:
    value = _value(layer, "(int32_t)x[i]", "(int32_t)x2[i]")
    return Code(f"for (int32_t i = 0; i < {layer.output.size}; i++) {{ y[i] = {value}; }}\n")


def _emit_dsp(layer: Layer) -> Code:
    lanes = [
        ("even", "(int16_t){}"),
        ("odd", "(int16_t){}"),
        ("even", "((int32_t){} >> 16)"),
        ("odd", "((int32_t){} >> 16)"),
    ]
    stores = "".join(
        f"y[i + {index}] = {_value(layer, cast.format('a_' + lane), cast.format('b_' + lane), dsp=True)};\n"
        for index, (lane, cast) in enumerate(lanes)
    )
    body = (
        f"for (int32_t i = 0; i < {layer.output.size}; i += 4) {{\n"
        "const uint32_t a = kws_load(x + i);\nconst uint32_t b = kws_load(x2 + i);\n"
        "const uint32_t a_even = kws_sxtab16(0, a);\nconst uint32_t a_odd = kws_sxtab16_ror8(0, a);\n"
        "const uint32_t b_even = kws_sxtab16(0, b);\nconst uint32_t b_odd = kws_sxtab16_ror8(0, b);\n"
        f"{stores}}}\n"
    )
    return Code(body)


KERNELS = (
    Kernel("add_dsp_4", "add", "dsp", _emit_dsp, supports=lambda layer: layer.output.size % 4 == 0),
    Kernel("add_portable", "add", "portable", _emit_portable),
)
