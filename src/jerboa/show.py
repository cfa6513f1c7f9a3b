"""Tables for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from jerboa.report.results import Results


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for index, column in enumerate(columns):
        left = column in ("layer", "operator", "kernel", "executor", "result")
        table.add_column(column, justify="left" if left else "right", no_wrap=index == 0)
    return table


def analysis(values: dict[str, Any]) -> RenderableType:
    table = _table("layer", "operator", "kernel", "output", "MACs", "parameters")
    for layer in values["layers"]:
        shape = "×".join(map(str, layer["output"]))
        table.add_row(layer["name"], layer["op"], layer["kernel"], shape, f"{layer['macs']:,}", f"{layer['parameters']:,}")
    ram, constants = values["ram_bytes"], values["constant_bytes"]
    lines = [
        f"{values['macs']:,} MACs, {values['parameters']:,} parameters",
        f"RAM    arena {ram['arena']:,} bytes (no plan can be below {ram['arena_lower_bound']:,}) + state {ram['state']:,}",
        f"flash  weights {constants['weights']:,} + tables {constants['tables']:,} bytes, and the code: jerboa profile links it",
    ]
    return Group(Text.assemble((values["model"], "bold"), " on ", (values["target"], "bold")), table, *map(Text, lines))


def sizes(values: dict[str, Any]) -> RenderableType:
    ram = values["ram_bytes"]
    lines = [f"wrote {len(values['files'])} files to {values['folder']}: {', '.join(values['files'])}"]
    lines.append(f"RAM    arena {ram['arena']:,} + state {ram['state']:,} bytes")
    if "flash_bytes" in values:
        flash = values["flash_bytes"]
        lines.append(
            f"flash  code {flash['code']:,} + weights {flash['weights']:,} + tables {flash['tables']:,} = {flash['total']:,} bytes "
            f"({values['compiler']}, a whole image with start-up code)"
        )
    return Group(*(Text(line, no_wrap=False) for line in lines))


def layers(results: Results) -> RenderableType:
    table = _table("layer", "operator", "kernel", "MACs", "instructions", "per MAC", "share")
    latency = results.latency
    assert latency is not None
    rows = [(layer.name, layer.op, layer.kernel, layer.macs, layer.instructions) for layer in latency.layers]
    if latency.frontend_frames:
        rows.insert(0, ("front end", f"{latency.frontend_frames} frames", "", 0, latency.frontend_cycles))
    rest = latency.instructions - sum(row[4] for row in rows)
    rows.append(("everything else", "", "", 0, rest))
    for name, operator, kernel, macs, count in rows:
        per_mac = f"{count / macs:.2f}" if macs else ""
        table.add_row(
            name, operator, kernel, f"{macs:,}" if macs else "", f"{count:,}", per_mac, f"{count / latency.instructions:.1%}"
        )
    return table


def agreement(values: dict[str, Any]) -> RenderableType:
    table = _table("executor", "result")
    table.add_row("NumPy", Text("the definition"))
    for row in values["executors"]:
        if "skipped" in row:
            table.add_row(row["executor"], Text(f"skipped: {row['skipped']}", "yellow"))
        elif row["first_difference"] is None:
            table.add_row(row["executor"], Text(f"equal on all {values['inputs']} inputs, {values['layers']} layers each", "green"))
        else:
            first = row["first_difference"]
            text = f"layer '{first['layer']}' differs in {first['values']} values on input {first['input']}"
            table.add_row(row["executor"], Text(f"{row['equal_inputs']} of {values['inputs']} equal; {text}", "bold red"))
    return table
