"""C text shared by the portable kernels that slide a window."""

from __future__ import annotations


def row_loop(height: int, stride: int, dilation: int, kernel: int, before: int, rows: int, axis: str, body: str) -> str:
    """A loop over the taps of one axis that skips the taps in the padding.

    ``axis`` is 'y' or 'x'; the body sees ``k<axis>`` (tap) and ``i<axis>`` (input index) for output index ``o<axis>``.
    """
    reach = (rows - 1) * stride + (kernel - 1) * dilation - before
    guard = ""
    if before > 0 and reach >= height:
        guard = f"if (i{axis} < 0 || i{axis} >= {height}) {{ continue; }}\n"
    elif before > 0:
        guard = f"if (i{axis} < 0) {{ continue; }}\n"
    elif reach >= height:
        guard = f"if (i{axis} >= {height}) {{ continue; }}\n"
    return (
        f"for (int32_t k{axis} = 0; k{axis} < {kernel}; k{axis}++) {{\n"
        f"const int32_t i{axis} = o{axis} * {stride} + k{axis} * {dilation} - {before};\n"
        f"{guard}{body}}}\n"
    )
