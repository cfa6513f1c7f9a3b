"""Instructions of the front ends and of three networks, layer by layer, beside the figures of others.

python -m benchmarks.pipeline [--target stm32f746] [--compiler zig|gcc] [--json]
"""

from __future__ import annotations

import argparse
import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

import jerboa
from benchmarks.networks import random_network
from jerboa.audio.frontend import FrontendSpec
from jerboa.errors import JerboaError
from jerboa.graph import Graph, Node
from jerboa.report.results import Results

PEERS: dict[str, Any] = tomllib.loads(Path(__file__).with_name("peers.toml").read_text("utf-8"))
CLASSES = {"temporal": 12, "ds_cnn": 12, "one_fstride4": 6}
TITLES = {
    "temporal": "temporal, the default network (12 classes)",
    "ds_cnn": "ds_cnn, MLPerf Tiny's keyword-spotting network (49 × 10, 12 classes)",
    "one_fstride4": "one_fstride4 of arXiv 2208.02765 (30 × 40, 6 classes)",
}

Row = dict[str, Any]


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pipeline", description=__doc__.splitlines()[0])
    parser.add_argument("--target", default="stm32f746", help="a board of boards.toml")
    parser.add_argument("--compiler", default="zig", choices=("zig", "gcc"))
    parser.add_argument("--json", action="store_true", help="print rows as JSON on standard output")
    options = parser.parse_args()
    try:
        rows, conditions = measure(options.target, options.compiler)
    except JerboaError as error:
        print(f"error {error}", file=sys.stderr)
        sys.exit(2)
    if options.json:
        print(json.dumps({"conditions": conditions, "rows": rows}, indent=1, ensure_ascii=False))
    else:
        show(rows, conditions)


def measure(target: str, compiler: str) -> tuple[list[Row], dict[str, str]]:
    """All rows and the conditions they hold under; every network is built for the board and run on its emulated core."""
    rows: list[Row] = []
    facts = None
    for name, classes in CLASSES.items():
        print(f"{name}: build, run on the emulated {target}", file=sys.stderr)
        graph = random_network(name, classes)
        results = jerboa.compile(graph, target, compiler).profile()
        facts = results.target
        rows += frontend_rows(graph, results) + layer_rows(name, graph, results) + network_rows(name, results)
    wide = random_network("ds_cnn", 12, window=640, fft=1024)
    rows += frontend_rows(wide, jerboa.compile(wide, target, compiler).profile())
    assert facts is not None
    comparable = facts.core == "cortex-m7"
    if not comparable:
        rows = [{**row, "peers": []} for row in rows]
    return rows, {
        "target": f"{facts.name}, {facts.core} at {facts.clock_hz / 1e6:g} MHz",
        "compiler": facts.compiler,
        "flags": facts.flags,
        "weights": "random, seed 0",
        "cycles": "not modelled: instructions are exact, their cycles are not known",
        "peers": PEERS["conditions"] if comparable else "left out: their figures are of a Cortex-M7",
    }


def frontend_rows(graph: Graph, results: Results) -> list[Row]:
    """One row per front end, with the figures of others for the same window and the same kind of feature."""
    spec = FrontendSpec.from_json(graph.frontend or {})
    latency = results.latency
    assert latency is not None and latency.frontend_frames
    size = f"{spec.features}" if spec.kind == "mfcc" else f"{spec.bands}"
    title = f"{'MFCC' if spec.kind == 'mfcc' else 'log-mel'} {size}, window {spec.window}, FFT {spec.fft}"
    kind = "MFCC" if spec.kind == "mfcc" else "log-mel"
    peers = [
        {"name": peer["name"], "instructions": peer[f"window_{spec.window}"]}
        for peer in PEERS["frontend"]
        if peer["computes"] == kind and f"window_{spec.window}" in peer
    ]
    per_frame = latency.frontend_cycles // latency.frontend_frames
    return [{"part": "front end", "name": title, "instructions": per_frame, "frames": spec.frames, "peers": peers}]


def layer_rows(network: str, graph: Graph, results: Results) -> list[Row]:
    """One row per layer; those of DS-CNN with CMSIS-NN's count."""
    assert results.latency is not None
    rows = []
    for node, cost in zip(graph, results.latency.layers):
        row: Row = {
            "part": network,
            "name": cost.name,
            "layer": describe(node),
            "kernel": cost.kernel,
            "output": list(graph.output_of(node).shape),
            "macs": cost.macs,
            "instructions": cost.instructions,
            "per_mac": round(cost.instructions / cost.macs, 3) if cost.macs else None,
            "peers": [],
        }
        if network == "ds_cnn":
            known = PEERS["ds_cnn"].get(describe(node))
            row["peers"] = [{"name": PEERS["ds_cnn"]["name"], "instructions": known}] if known else []
        rows.append(row)
    return rows


def network_rows(network: str, results: Results) -> list[Row]:
    """The layers together, with flash and RAM of the whole image, and what a clip takes beside layers and front end: copying,
    and helpers that layers call on cores without 64-bit arithmetic.
    """
    latency, flash, ram = results.latency, results.flash_bytes, results.ram_bytes
    assert latency is not None and flash is not None and ram is not None
    instructions = sum(layer.instructions for layer in latency.layers)
    return [
        {
            "part": network,
            "name": "network",
            "macs": results.model.macs,
            "instructions": instructions,
            "per_mac": round(instructions / results.model.macs, 3),
            "flash": flash.total,
            "ram": ram.total,
            "peers": PEERS["ds_cnn_whole"] if network == "ds_cnn" else [],
        },
        {
            "part": network,
            "name": "rest",
            "macs": 0,
            "instructions": latency.instructions - latency.frontend_cycles - instructions,
            "per_mac": None,
            "peers": [],
        },
    ]


def describe(node: Node) -> str:
    """Operator and window, as the peers' table names them."""
    kernel = getattr(node.operator, "kernel", None)
    return node.operator.name + (f" {kernel[0]}x{kernel[1]}" if kernel else "")


def show(rows: list[Row], conditions: dict[str, str]) -> None:
    """Print the rows as tables."""
    console = Console()
    console.width = max(console.width, 112)
    for part in dict.fromkeys(["front end", *CLASSES]):
        title = "front end, instructions per frame" if part == "front end" else TITLES[part]
        table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
        layers = part != "front end"
        for column in ("", *(("layer", "MACs") if layers else ()), "instructions", *(("per MAC",) if layers else ())):
            table.add_column(column, justify="left" if column in ("", "layer") else "right", no_wrap=True)
        if any(row["peers"] for row in rows if row["part"] == part):
            for column in ("peer's", "ours", "peer"):
                table.add_column(column, justify="left" if column == "peer" else "right", no_wrap=True)
        for row in rows:
            if row["part"] == part:
                _add(table, row)
        console.print(table, "")
    for row in rows:
        if row["name"] == "network":
            others = "".join(f"; {peer['name']}: {peer['flash']:,} and {peer['ram']:,}" for peer in row["peers"] if "flash" in peer)
            console.print(f"{row['part']}: flash {row['flash']:,} bytes, RAM {row['ram']:,} bytes, front end included{others}")
    console.print("")
    for key, value in conditions.items():
        console.print(f"[dim]{key:9}[/] {value}", highlight=False)


def _add(table: Table, row: Row) -> None:
    cells = [row["name"]]
    if row["part"] != "front end":
        cells += [row.get("layer", ""), f"{row['macs']:,}" if row["macs"] else ""]
    cells.append(f"{row['instructions']:,}")
    if row["part"] != "front end":
        cells.append(f"{row['per_mac']:.2f}" if row["per_mac"] else "")
    if not row["peers"]:
        table.add_row(*cells)
    for index, peer in enumerate(row["peers"]):
        count = peer["instructions"]
        shown = cells if index == 0 else [""] * len(cells)
        table.add_row(*shown, f"{count:,}", f"{row['instructions'] / count:.0%}", peer["name"])


if __name__ == "__main__":
    main()
