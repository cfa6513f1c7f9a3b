"""The report: one HTML file that needs no network and no script, from one run folder or several."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from jerboa.errors import JerboaError
from jerboa.files import write_text
from jerboa.report.pictures import heat_png, waveform
from jerboa.report.plots import Interval, Series, fullest_step, interval_plot, line_chart, memory_map
from jerboa.report.results import Accuracy, Example, Results, wilson
from jerboa.report.runs import Run, load_run
from jerboa.report.words import kib, plural, points, short

EXAMPLES_SHOWN = 24
SPEECH_COMMANDS = "Pictures of clips: Speech Commands, CC BY 4.0, P. Warden (Google), arXiv 1804.03209."
_WHERE = {"float": "float network", "int8": "int8 network, NumPy", "emulated": "int8, emulated chip"}
_BY = {"float": "float network", "int8": "int8 network", "emulated": "emulated chip"}


def write_report(runs: list[Path], out: Path) -> Path:
    """Write the page for these run folders to ``out`` and return it.

    Raises:
        JerboaError: no run named, a folder that is no run, a damaged file in one, ``out`` cannot be written.
    """
    if not runs:
        raise JerboaError("no run folder to report on", hint="jerboa report RUN…")
    loaded = [load_run(folder) for folder in runs]
    views = [_view(run, index) for index, run in enumerate(loaded)]
    html = (
        _environment()
        .get_template("page.html.j2")
        .render(
            views=views,
            title=" · ".join(dict.fromkeys(run.title for run in loaded)),
            comparison=_comparison(loaded) if len(loaded) > 1 else None,
            licence=SPEECH_COMMANDS if any(run.corpus == "speech-commands" and run.examples for run in loaded) else None,
        )
    )
    write_text(out, re.sub(r"\n\s*\n+", "\n", html))
    return out


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("jerboa.report", "."),
        autoescape=select_autoescape(default=True, default_for_string=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(points=points, kib=kib, short=short)
    environment.globals["plural"] = plural
    environment.globals["style"] = Markup(Path(__file__).with_name("page.css").read_text(encoding="utf-8"))
    return environment


def _view(run: Run, index: int) -> dict[str, Any]:
    """What the template shows of one run; ``None`` or empty where a part is missing."""
    results = run.results
    return {
        "id": f"run{index + 1}",
        "run": run,
        "r": results,
        "sentence": _sentence(results) if results else "",
        "intervals": _intervals(results.accuracy) if results and results.accuracy else None,
        "confusion": _confusion(results) if results and results.confusion else None,
        "examples": _examples(run.examples, results.labels if results else []),
        "map": memory_map(results.steps, results.arena_plan, _arena(results))
        if results and results.arena_plan and results.steps
        else None,
        "fullest": fullest_step(results.steps, results.arena_plan) if results and results.steps else None,
        "costs": _costs(results) if results and results.latency else [],
        "training": _training(run.metrics),
        "backdrop": waveform(run.examples[0].waveform, "") if run.examples else None,
    }


def _sentence(results: Results) -> str:
    """The headline numbers in words."""
    parts = []
    if results.accuracy:
        accuracy = results.accuracy
        where, value = accuracy.best_known
        right = round(value * accuracy.clips)
        parts.append(f"Of {accuracy.clips:,} test clips, the {_BY[where]} recognises {right:,}")
        if where != "float" and accuracy.float_ is not None:
            change = 100 * (value - accuracy.float_)
            moved = "as many as" if abs(change) < 0.005 else f"{abs(change):.2f} points {'above' if change > 0 else 'below'}"
            parts[-1] += f", {moved} the float network"
    if results.latency:
        latency, target = results.latency, results.target
        parts.append(
            f"One second of sound takes {latency.ms:.1f} ms at {target.clock_hz / 1e6:g} MHz, so listening once a second "
            f"would leave the core idle for {points(max(0.0, 1 - latency.ms / 1000))}\u00a0% of the time"
        )
    if results.ram_bytes and results.flash_bytes and results.target.flash_bytes and results.target.ram_bytes:
        ram = results.ram_bytes.total / results.target.ram_bytes
        flash = results.flash_bytes.total / results.target.flash_bytes
        parts.append(f"It uses {ram:.1%} of the board's RAM and {flash:.1%} of its flash".replace("%", "\u00a0%"))
    return ". ".join(parts) + "." if parts else ""


def _intervals(accuracy: Accuracy) -> dict[str, Any]:
    rows = [
        Interval(_WHERE[name], value, *wilson(round(value * accuracy.clips), accuracy.clips))
        for name, value in (("float", accuracy.float_), ("int8", accuracy.int8), ("emulated", accuracy.emulated))
        if value is not None
    ]
    return {"rows": rows, "plot": interval_plot(rows)}


def _confusion(results: Results) -> dict[str, Any]:
    """Rows of cells, each with its count and the strength of its colour in percent."""
    matrix = results.confusion
    worst = max([5, *(n for t, row in enumerate(matrix) for p, n in enumerate(row) if t != p)])
    rows = []
    pairs = []
    for truth, row in enumerate(matrix):
        total = sum(row)
        cells = []
        for guess, count in enumerate(row):
            share = count / total if truth == guess and total else (count / worst if count else 0)
            strength = round(8 + 52 * share**1.5) if truth == guess else round(14 + 56 * share) if count else 0
            cells.append({"count": count, "strength": strength, "right": truth == guess})
            if truth != guess and count:
                pairs.append((count, results.labels[truth], results.labels[guess]))
        recall = row[truth] / total if total else None
        rows.append({"label": results.labels[truth], "cells": cells, "total": total, "recall": recall})
    pairs.sort(key=lambda pair: -pair[0])
    return {"labels": results.labels, "rows": rows, "pairs": pairs[:3]}


def _examples(examples: list[Example], labels: list[str]) -> list[dict[str, Any]]:
    values = sorted(value for item in examples for frame in item.features for value in frame)
    low, high = (values[len(values) // 100], values[-1 - len(values) // 200]) if values else (-128, 127)
    shown = sorted(examples, key=lambda item: item.right)[:EXAMPLES_SHOWN]
    return [
        {
            "clip": item,
            "wave": waveform(item.waveform, f"waveform of a clip of “{item.label}”"),
            "heat": heat_png(item.features, low, high) if item.features and item.features[0] else None,
            "frames": len(item.features),
            "bars": [
                {"label": labels[i] if i < len(labels) else str(i), "share": min(1.0, max(0.0, p))}
                for i, p in enumerate(item.posteriors)
            ],
        }
        for item in shown
    ]


def _arena(results: Results) -> int:
    planned = max(tensor.offset + tensor.bytes for tensor in results.arena_plan)
    return max(1, planned, results.ram_bytes.arena if results.ram_bytes else 0)


def _costs(results: Results) -> list[dict[str, Any]]:
    """The front end, every layer, and what is spent between them, in the order of execution."""
    latency = results.latency
    assert latency is not None
    rows: list[dict[str, Any]] = []
    if latency.frontend_cycles:
        frames = latency.frontend_frames
        note = f"{plural(frames, 'frame')}, {short(latency.frontend_cycles / frames)} cycles each" if frames else ""
        rows.append(_cost("", "front end", "PCM to features", note, 0, latency.frontend_cycles, None))
    for number, layer in enumerate(latency.layers, 1):
        rows.append(_cost(str(number), layer.name, layer.op, layer.kernel, layer.macs, layer.cycles, layer.instructions))
    rest = latency.cycles - sum(row["cycles"] for row in rows)
    if rows and rest:
        rows.append(_cost("", "the rest", "calls, buffers", "", 0, rest, None))
    most = max((row["cycles"] for row in rows), default=1) or 1
    for row in rows:
        row["bar"] = 100 * row["cycles"] / most
        row["share"] = row["cycles"] / max(1, latency.cycles)
    return rows


def _cost(number: str, name: str, op: str, kernel: str, macs: int, cycles: int, instructions: int | None) -> dict[str, Any]:
    each = instructions / macs if macs and instructions else None
    return {"number": number, "name": name, "op": op, "kernel": kernel, "macs": macs, "cycles": cycles, "each": each}


def _training(metrics: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Charts of accuracy (percent) and loss over the epochs, from whichever of the known keys the lines have."""
    charts = []
    for title, scale, unit, keys in (
        (
            "Accuracy",
            100.0,
            "",
            {"training": ("train_accuracy",), "validation": ("val_accuracy", "validation_accuracy", "accuracy")},
        ),
        ("Loss", 1.0, "", {"training": ("train_loss", "loss"), "validation": ("val_loss", "validation_loss")}),
    ):
        series = []
        for name, candidates in keys.items():
            key = next((key for key in candidates if any(_number(line.get(key)) for line in metrics)), None)
            if key:
                series.append(Series(name, [line[key] * scale if _number(line.get(key)) else None for line in metrics]))
        known = [value for line in series for value in line.values if value is not None]
        if known:
            low = min(known) if title == "Accuracy" else 0.0
            label = f"{title} over {plural(len(metrics), 'epoch')}, " + ", ".join(
                f"{s.name} ends at {_last(s):.3g}" for s in series
            )
            charts.append(
                {"title": title, "names": [s.name for s in series], "plot": line_chart(series, low, max(known), label, unit)}
            )
    return charts


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value and abs(value) < 1e9


def _last(series: Series) -> float:
    return next(value for value in reversed(series.values) if value is not None)


def _comparison(runs: list[Run]) -> dict[str, Any]:
    """A table of the headline numbers, a column for each run, the best of a row marked."""
    rows = []
    for name, lower_is_better, get, show in (
        ("accuracy", False, lambda r: r.accuracy and r.accuracy.best_known[1], lambda v: f"{points(v)} %"),
        ("a clip takes, modelled", True, lambda r: r.latency and r.latency.ms, lambda v: f"{v:.1f} ms"),
        ("RAM", True, lambda r: r.ram_bytes and r.ram_bytes.total, kib),
        ("flash", True, lambda r: r.flash_bytes and r.flash_bytes.total, kib),
        ("weights", True, lambda r: r.model.weight_bytes, kib),
        ("parameters", True, lambda r: r.model.parameters, lambda v: f"{v:,}"),
        ("MACs", True, lambda r: r.model.macs, short),
    ):
        values = [get(run.results) if run.results else None for run in runs]
        known = [value for value in values if value is not None]
        best = (min if lower_is_better else max)(known) if len(set(known)) > 1 else None
        most = max(known, default=0) or 1
        cells = [
            {"text": "not yet", "best": False, "bar": 0}
            if value is None
            else {"text": show(value), "best": value == best, "bar": 100 * value / most}
            for value in values
        ]
        rows.append({"name": name, "cells": cells})
    intervals = [
        Interval(run.title, run.results.accuracy.best_known[1], *run.results.accuracy.ci95)
        for run in runs
        if run.results and run.results.accuracy
    ]
    return {"rows": rows, "intervals": intervals, "plot": interval_plot(intervals) if intervals else None}
