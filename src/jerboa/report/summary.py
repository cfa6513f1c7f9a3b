"""The block that a command prints when it has a result."""

from __future__ import annotations

from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jerboa.report.results import Results
from jerboa.report.words import kib, points


def summary(results: Results, report: Path | None = None) -> RenderableType:
    """Accuracy, time, RAM, flash and agreement of one run, a line each, for ``rich.print``."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", style="dim")
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    target = results.target
    if results.accuracy is not None:
        where, value = results.accuracy.best_known
        low, high = results.accuracy.ci95
        note = f"{where}, {results.accuracy.clips:,} clips, 95 % interval {points(low)} … {points(high)}"
        if results.accuracy.float_ is not None and where != "float":
            note += f", float {points(results.accuracy.float_)} %"
        table.add_row("accuracy", f"{points(value)} %", Text(note))
    if results.latency is not None:
        word = "modelled" if results.latency.modelled else "measured"
        note = f"{word} ({results.latency.method}), {target.name} at {target.clock_hz / 1e6:g} MHz"
        table.add_row("a clip takes", f"{results.latency.ms:.1f} ms", Text(note))
    if results.ram_bytes is not None:
        ram = results.ram_bytes
        note = f"arena {ram.arena:,} + state {ram.state:,} + stack {ram.stack:,} bytes{_of(ram.total, target.ram_bytes)}"
        table.add_row("RAM", kib(ram.total), Text(note))
    if results.flash_bytes is not None:
        flash = results.flash_bytes
        note = f"code {flash.code:,} + weights {flash.weights:,} + tables {flash.tables:,} bytes"
        table.add_row("flash", kib(flash.total), Text(note + _of(flash.total, target.flash_bytes)))
    if results.agreement is not None:
        same = results.agreement
        names = ", ".join(f"{name} {equal:,}" for name, equal in same.executors.items())
        verdict = Text("equal", "bold green") if same.all_equal else Text("DIFFERENT", "bold red")
        table.add_row("executors", verdict, Text(f"clips with the same bytes as NumPy, of {same.samples:,}: {names}"))
    title = Text.assemble((results.model.name, "bold"), " on ", (target.name, "bold"))
    title.append(f"  {results.model.parameters:,} parameters, {results.model.macs:,} MACs", "dim")
    parts: list[RenderableType] = [Text(), title, table]
    if report is not None:
        parts += [Text.assemble("report  ", (str(report), "bold underline"))]
    return Group(*parts)


def _of(used: int, available: int | None) -> str:
    return f", {used / available:.1%} of the board's" if available else ""
