"""Softmax by table; the quotient has nine bits and is found bit by bit, so no division routine is needed on any core."""

from __future__ import annotations

from jerboa.codegen.source import Code, Constant, Kernel, Layer


def _emit(layer: Layer) -> Code:
    size, name, entries = layer.output.size, layer.symbol, len(layer.operator.table)
    term = f"(top - x[i] < {entries} ? {name}_table[top - x[i]] : 0u)"
    body = (
        f"int32_t top = x[0];\nfor (int32_t i = 1; i < {size}; i++) {{ if (x[i] > top) {{ top = x[i]; }} }}\n"
        f"uint32_t total = 0;\nfor (int32_t i = 0; i < {size}; i++) {{ total += {term}; }}\n"
        f"for (int32_t i = 0; i < {size}; i++) {{\n"
        f"const uint32_t share = kws_quotient({term} * 256u + total / 2u, total, 9);\n"
        f"y[i] = (int8_t)((int32_t)(share > 255u ? 255u : share) - 128);\n}}\n"
    )
    return Code(body, [Constant(f"{name}_table", layer.operator.table, "tables")])


KERNELS = (Kernel("softmax_portable", "softmax", "portable", _emit),)
