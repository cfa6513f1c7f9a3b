"""Numbers as the report and the terminal write them."""

from __future__ import annotations


def points(fraction: float) -> str:
    """A fraction as percent with one decimal; never rounded up to a perfect 100.0."""
    percent = 100 * fraction
    return "100.0" if fraction == 1 else f"{min(percent, 99.9):.1f}"


def kib(size: int) -> str:
    """Bytes for people: ``"812 B"``, ``"33.1 KiB"``, ``"1.00 MiB"``."""
    if size < 1024:
        return f"{size} B"
    if size < 1024 * 1024:
        return f"{size / 1024:.1f} KiB"
    return f"{size / 1024 / 1024:.2f} MiB"


def short(count: float) -> str:
    """A count for people: ``"940"``, ``"12.3 k"``, ``"4.98 M"``."""
    if count < 1000:
        return f"{count:,.0f}"
    if count < 999_950:
        return f"{count / 1e3:.1f} k"
    return f"{count / 1e6:.2f} M"


def plural(count: int, noun: str) -> str:
    """``"1 clip"``, ``"1,252 clips"``."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
