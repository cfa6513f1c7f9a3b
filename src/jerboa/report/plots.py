"""Charts as SVG that fills the width it gets: positions in percent, text in pixels, colours from the page's style sheet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup

from jerboa.report.results import ArenaPlacement
from jerboa.report.words import kib, points


@dataclass(frozen=True)
class Interval:
    """A fraction with its confidence interval, and what it is of."""

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Series:
    """One line of a chart; ``values[i]`` belongs to epoch ``i + 1`` and may be unknown."""

    name: str
    values: Sequence[float | None]


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers (1, 2, 5 times a power of ten) that cover low … high."""
    span = max(high - low, 1e-9)
    power = 10 ** floor(log10(span / about))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= span / about)
    return [round(i * step, 10) for i in range(floor(low / step + 1e-9), ceil(high / step - 1e-9) + 1)]


def interval_plot(rows: Sequence[Interval]) -> Markup:
    """Dots with whiskers on one axis of percent, a row each, the number at the right."""
    marks = ticks(100 * min(row.low for row in rows), 100 * min(1.0, max(row.high for row in rows)))
    first, last = marks[0], min(100.0, marks[-1])
    marks = [mark for mark in marks if mark <= 100]

    def x(fraction: float) -> str:
        return f"{2 + 96 * (100 * fraction - first) / max(last - first, 1e-9):.2f}%"

    row_height, axis = 30, 24
    height = row_height * len(rows)
    grid = Markup("").join(
        Markup('<line class="grid" x1="{0}" x2="{0}" y1="0" y2="{1}"/><text class="tick" x="{0}" y="{2}">{3:g}</text>').format(
            x(mark / 100), height, height + 17, mark
        )
        for mark in marks
    )
    dots = Markup("").join(
        Markup(
            '<g><title>{0}: {1} %, 95 % interval {2} to {3} %</title>'
            '<line class="whisker" x1="{4}" x2="{5}" y1="{7}" y2="{7}"/><circle class="dot" cx="{6}" cy="{7}" r="5.5"/></g>'
        ).format(
            row.name, points(row.value), points(row.low), points(row.high),
            x(row.low), x(row.high), x(row.value), row_height * index + row_height / 2,
        )
        for index, row in enumerate(rows)
    )  # fmt: skip
    return Markup('<svg class="chart" width="100%" height="{}" aria-hidden="true">{}{}</svg>').format(height + axis, grid, dots)


def memory_map(steps: Sequence[str], plan: Sequence[ArenaPlacement], arena: int) -> Markup:
    """The arena over time: steps to the right, offsets upward, a rectangle for each tensor while it lives."""
    height, axis, width = 280, 26, 100 / len(steps)
    shapes = Markup("").join(
        _tensor(tensor, steps, index, height / arena, arena, width)
        for index, tensor in enumerate(sorted(plan, key=lambda item: (item.first, item.offset)))
    )
    grid = Markup("").join(
        Markup(
            '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/><text class="side" x="-8" y="{1:.1f}">{2}</text>'
        ).format(8 + height * quarter / 4, 12 + height * quarter / 4, kib(arena * (4 - quarter) // 4))
        for quarter in range(5)
    )
    numbers = Markup("").join(
        Markup('<text class="tick" x="{:.2f}%" y="{}">{}<title>{}</title></text>').format(
            width * (index + 0.5), height + 16, index + 1, name
        )
        for index, name in enumerate(steps)
    )
    return Markup(
        '<svg class="chart map" width="100%" height="{}" role="img" '
        'aria-label="RAM map: {} tensors in an arena of {} over {} steps">'
        '{}<svg y="8" height="{}">{}{}</svg></svg>'
    ).format(height + axis + 8, len(plan), kib(arena), len(steps), grid, height + axis, shapes, numbers)


def _tensor(tensor: ArenaPlacement, steps: Sequence[str], index: int, scale: float, arena: int, width: float) -> Markup:
    """One rectangle of the map; ``scale`` is pixels per byte, ``width`` percent per step."""
    tall = max(1.5, scale * tensor.bytes)
    last = f" to {steps[tensor.last]}" if tensor.last > tensor.first else ""
    return Markup(
        '<svg x="{:.3f}%" y="{:.1f}" width="{:.3f}%" height="{:.1f}"><title>{}: {:,} bytes at {:,}, during {}{}</title>'
        '<rect class="{}" x="0.5" y="0.5" width="99%" height="100%" rx="2"/><text x="5" y="{:.1f}">{}</text></svg>'
    ).format(
        width * tensor.first,
        scale * (arena - tensor.offset - tensor.bytes),
        width * (tensor.last - tensor.first + 1),
        tall,
        tensor.name,
        tensor.bytes,
        tensor.offset,
        steps[tensor.first],
        last,
        "scratch" if tensor.name.endswith(".scratch") else f"t{index % 5}",
        min(tall / 2 + 4, 16),
        tensor.name if tall >= 13 else "",
    )


def fullest_step(steps: Sequence[str], plan: Sequence[ArenaPlacement]) -> tuple[int, int]:
    """The first step (from 0) with the most bytes in use, and those bytes; tensors that share bytes count once."""
    return max(((step, _in_use(step, plan)) for step in range(len(steps))), key=lambda pair: (pair[1], -pair[0]))


def _in_use(step: int, plan: Sequence[ArenaPlacement]) -> int:
    end = total = 0
    for start, stop in sorted((t.offset, t.offset + t.bytes) for t in plan if t.first <= step <= t.last):
        total += max(0, stop - max(start, end))
        end = max(end, stop)
    return total


def line_chart(series: Sequence[Series], low: float, high: float, label: str, unit: str = "") -> Markup:
    """Lines over the epochs between two values of the vertical axis, which gets round ticks."""
    marks = ticks(low, high, 4)
    bottom, top = marks[0], marks[-1]
    height, count = 150, max(len(line.values) for line in series)

    def y(value: float) -> float:
        return 8 + (height - 16) * (top - value) / max(top - bottom, 1e-12)

    grid = Markup("").join(
        Markup(
            '<line class="grid" x1="0" x2="100%" y1="{0:.1f}" y2="{0:.1f}"/><text class="side" x="-8" y="{1:.1f}">{2:g}{3}</text>'
        ).format(y(mark), y(mark) + 4, mark, unit)
        for mark in marks
    )
    lines = Markup("").join(
        Markup('<polyline class="line s{}" points="{}"><title>{}</title></polyline>').format(
            index,
            " ".join(f"{i},{y(v):.2f}" for i, v in enumerate(line.values) if v is not None),
            line.name,
        )
        for index, line in enumerate(series)
    )
    return Markup(
        '<svg class="chart lines" width="100%" height="{0}" role="img" aria-label="{1}">{2}'
        '<svg y="0" height="{3}" viewBox="0 0 {4} {3}" preserveAspectRatio="none">{5}</svg>'
        '<text class="side" x="100%" y="{6}">epoch {7}</text><text class="first" x="0" y="{6}">1</text></svg>'
    ).format(height + 20, label, grid, height, max(1, count - 1), lines, height + 16, count)
