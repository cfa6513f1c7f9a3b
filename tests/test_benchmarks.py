"""The benchmark beside the figures of others, and the README's table made from it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

import jerboa

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.networks import random_network  # noqa: E402
from benchmarks.pipeline import frontend_rows, layer_rows, network_rows, show  # noqa: E402


def test_every_layer_of_ds_cnn_stands_beside_a_peer(capsys: pytest.CaptureFixture[str]) -> None:
    graph = random_network("ds_cnn", 12)
    assert graph.macs == 2_656_768
    results = jerboa.compile(graph, "stm32f746").profile()
    layers, (whole, _) = layer_rows("ds_cnn", graph, results), network_rows("ds_cnn", results)
    assert all(row["peers"] for row in layers)
    assert sum(row["instructions"] for row in layers) == whole["instructions"]
    (front,) = frontend_rows(graph, results)
    assert {peer["name"] for peer in front["peers"]} >= {"CMSIS-DSP arm_mfcc_q15", "CMSIS-DSP arm_mfcc_f32"}
    assert 0 < front["instructions"] < 25_000
    show([front, *layers, whole], {"compiler": results.target.compiler})
    printed = capsys.readouterr().out
    assert "7,226,388" in printed and f"{whole['instructions']:,}" in printed
    readme = re.search(r"^\| Jerboa, zig .*? \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \|", (ROOT / "README.md").read_text("utf-8"), re.M)
    assert readme
    stated = [int(cell.replace(",", "")) for cell in readme.groups()]
    assert stated == pytest.approx([whole["instructions"], whole["flash"], whole["ram"]], rel=0.01), "the README's table is old"
