"""Lays generated C out: four spaces per brace level."""

from __future__ import annotations


def indent(text: str) -> str:
    """Indent by braces and put a block that was written on one line on several."""
    lines: list[str] = []
    level = 0
    for line in text.split("\n"):
        stripped = line.strip()
        opens, closes = stripped.count("{"), stripped.count("}")
        lead = 1 if stripped.startswith("}") else 0
        continued = line.startswith("    ") and level == 0
        lines.append(line if continued or not stripped else "    " * (level - lead) + stripped)
        level += opens - closes
    return "\n".join(lines)
