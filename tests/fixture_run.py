"""A fabricated run folder for tests of the report: plausible in shape, false in every number, and named so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from jerboa.report.results import Results, make_example, wilson, write_examples, write_results

WORDS = ["zero", "one", "two", "three", "four", "five", "left", "right", "up", "down"]
LABELS = [*WORDS, "unknown", "silence"]


def fixture_values(seed: int = 7, labels: list[str] | None = None, scale: float = 1.0) -> dict[str, Any]:
    """The values of a ``results.json`` with 12 classes and 20 layers."""
    labels = labels or LABELS
    rng = np.random.default_rng(seed)
    confusion = np.diag(rng.integers(95, 112, len(labels)))
    for _ in range(40):
        truth, guess = rng.integers(0, len(labels), 2)
        if truth != guess:
            confusion[truth, guess] += 1
    clips, right = int(confusion.sum()), int(np.trace(confusion))
    layers, plan, steps = [], [], []
    for index in range(20):
        op = {0: "conv", 17: "mean", 18: "dense", 19: "softmax"}.get(index, "depthwise" if index % 2 else "conv")
        positions = 49 * 10 * 64
        macs = {"conv": positions * (9 if index == 0 else 16), "depthwise": positions * 9 // 10, "dense": 768}.get(op, 0)
        macs = int(scale * macs)
        each = {"conv": 1.3, "depthwise": 2.4, "dense": 1.6}.get(op, 0.0)
        instructions = int(macs * each * rng.uniform(0.9, 1.2)) + 400
        name = f"block{index // 2}.{op}"
        layers.append(
            {
                "name": name,
                "op": op,
                "kernel": f"{op}_{'dsp_2x2' if op == 'conv' else 'portable'}",
                "macs": macs,
                "cycles": instructions,
                "instructions": instructions,
            }
        )
        steps.append(name)
    sizes = [
        1960,
        *(
            int(scale * size)
            for size in (
                10240,
                7840,
                7840,
                6272,
                6272,
                4704,
                4704,
                4704,
                4704,
                4096,
                4096,
                3136,
                3136,
                3136,
                3136,
                3136,
                64,
                12,
                12,
            )
        ),
    ]
    top = int(scale * 18432)
    for index, size in enumerate(sizes):
        offset = 0 if index % 2 == 0 else top - size
        plan.append(
            {
                "name": f"t{index}.{steps[index]}",
                "offset": offset,
                "bytes": size,
                "first": max(0, index - 1),
                "last": min(19, index + (4 if index in (3, 9) else 0)),
            }
        )
    plan.append({"name": f"{steps[4]}.scratch", "offset": 8000, "bytes": 1024, "first": 4, "last": 4})
    network = sum(layer["cycles"] for layer in layers)
    cycles = network + 49 * 21_400 + 9_000
    return {
        "schema": 1,
        "model": {
            "name": "temporal (fixture)",
            "parameters": int(37_500 * scale),
            "macs": sum(layer["macs"] for layer in layers),
            "weight_bytes": int(37_012 * scale),
        },
        "target": {
            "name": "stm32f746",
            "core": "cortex-m7",
            "clock_hz": 216_000_000,
            "compiler": "zig cc 0.17.0 (fixture)",
            "flags": "-target thumb-freestanding-eabihf -mcpu=cortex_m7 -O3 -ffunction-sections -fdata-sections",
            "flash_bytes": 1_048_576,
            "ram_bytes": 327_680,
        },
        "latency": {
            "cycles": cycles,
            "instructions": cycles,
            "ms": cycles / 216e3,
            "modelled": True,
            "frontend_cycles": 49 * 21_400,
            "frontend_frames": 49,
            "layers": layers,
        },
        "flash_bytes": {
            "code": 14_212,
            "weights": int(37_012 * scale),
            "tables": 5_904,
            "total": 14_212 + int(37_012 * scale) + 5_904 + 452,
        },
        "ram_bytes": {"arena": top, "state": 4_216, "stack": 312, "total": top + 4_216 + 312},
        "accuracy": {
            "float": min(1.0, (right + 2) / clips),
            "int8": right / clips,
            "emulated": right / clips,
            "clips": clips,
            "ci95": wilson(right, clips),
            "per_class": {label: confusion[i, i] / confusion[i].sum() for i, label in enumerate(labels)},
        },
        "agreement": {"host": 256, "emulator": 256, "samples": 256},
        "labels": labels,
        "confusion": confusion.tolist(),
        "steps": steps,
        "arena_plan": plan,
        "provenance": {
            "tool": "jerboa 0.1.0 (fixture)",
            "model_hash": "c0ffee12deadbeef",
            "command": "jerboa train recipes/speech-commands-subset.toml --out runs/fixture",
            "recipe": "recipes/speech-commands-subset.toml",
            "created": "2026-01-01T12:00:00Z",
        },
    }


def fixture_run(folder: Path, *, labels: list[str] | None = None, seed: int = 7, scale: float = 1.0, clips: int = 8) -> Path:
    """Write a complete run folder: recipe, metrics, results and example clips."""
    labels = labels or LABELS
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    write_results(Results.model_validate(fixture_values(seed, labels, scale)), folder / "results.json")
    words = ", ".join(json.dumps(label) for label in labels[:-2])
    (folder / "recipe.toml").write_text(f'name = "{folder.name}"\n[corpus]\nkind = "speech-commands"\nwords = [{words}]\n')
    lines = []
    for epoch in range(1, 61):
        done = 1 - np.exp(-epoch / 9)
        lines.append(
            {
                "epoch": epoch,
                "phase": "float" if epoch < 56 else "qat",
                "train_loss": 2.3 - 1.95 * done + rng.normal(0, 0.02),
                "val_loss": 2.2 - 1.93 * done + rng.normal(0, 0.02),
                "train_accuracy": 0.12 + 0.81 * done,
                "val_accuracy": 0.15 + 0.815 * done + rng.normal(0, 0.004),
            }
        )
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    examples = []
    for index in range(clips):
        truth = index % len(labels)
        guess = (truth + 3) % len(labels) if index % 4 == 3 else truth
        time = np.arange(16000) / 16000
        centre = rng.uniform(0.35, 0.6)
        envelope = np.exp(-(((time - centre) / 0.11) ** 2)) + 0.6 * np.exp(-(((time - centre - 0.2) / 0.06) ** 2))
        pitch = rng.uniform(90, 220)
        voice = sum(np.sin(2 * np.pi * pitch * k * time * (1 + 0.05 * time)) / k for k in range(1, 9)) + rng.normal(0, 0.35, 16000)
        pcm = np.clip(9000 * envelope * voice + rng.normal(0, 120, 16000), -32768, 32767).astype(np.int16)
        frames = envelope[:: 16000 // 49][:49]
        bands = np.arange(40)
        formants = sum(
            np.exp(-(((bands[None] - f - 5 * np.sin(5 * np.arange(49)[:, None] / 49 + index)) / 3) ** 2)) for f in (6, 14, 25)
        )
        features = np.clip(-100 + 190 * frames[:, None] ** 0.5 * formants + rng.normal(0, 9, (49, 40)), -128, 127).astype(np.int8)
        weights = rng.exponential(0.03, len(labels))
        weights[guess] += 0.8
        weights[truth] += 0.25
        posteriors = np.clip(np.rint(256 * weights / weights.sum()) - 128, -128, 127)
        examples.append(
            make_example(
                f"fixture/{labels[truth]}/{index:04d}_nohash_0.wav", labels[truth], labels[guess], posteriors, pcm, features
            )
        )
    write_examples(examples, folder / "examples.json")
    return folder
