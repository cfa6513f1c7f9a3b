"""The registered networks with seeded random weights, quantised and imported: what a trained one is, but in a second."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray
from torch import fx, nn

from jerboa.audio.features import compute_features
from jerboa.audio.frontend import FrontendSpec
from jerboa.graph import Graph
from jerboa.importers.from_torch import import_program
from jerboa.models import architecture, build
from jerboa.training.quantize import export, freeze, quantize

NAMES = ("temporal", "ds_cnn", "one_fstride4")


@dataclass
class Network:
    """``pcm`` are the clips it was calibrated on, ``features`` theirs, int8 (clips, frames, features)."""

    spec: FrontendSpec
    graph: Graph
    frozen: fx.GraphModule
    pcm: NDArray[np.int16]
    features: NDArray[np.int8]

    @property
    def real(self) -> torch.Tensor:
        return torch.from_numpy((self.features.astype(np.float32) - self.spec.zero_point) * self.spec.scale)[:, None]


def network(name: str, pcm: NDArray[np.int16], classes: int = 12) -> Network:
    spec = FrontendSpec(**architecture(name).frontend)
    torch.manual_seed(5)
    module = build(name, spec.frames, spec.features, classes).eval()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean.normal_(0, 0.3)
            layer.running_var.uniform_(0.5, 2)
            nn.init.uniform_(layer.weight, 0.5, 1.5)
            nn.init.normal_(layer.bias, 0, 0.3)
    features = compute_features(spec, pcm)
    real = torch.from_numpy((features.astype(np.float32) - spec.zero_point) * spec.scale)[:, None]
    quantized = quantize(module, real, spec.scale, spec.zero_point)
    graph = import_program(export(quantized, real[:1]), name, tuple(f"word{i}" for i in range(classes)), spec.to_json())
    return Network(spec, graph, freeze(quantized), pcm, features)


def synthetic_clips(count: int, seed: int = 3) -> NDArray[np.int16]:
    """Tones that glide through noise, loud and soft, and one clip each of silence, full-scale square wave and one click."""
    rng = np.random.default_rng(seed)
    time = np.arange(16000) / 16000
    clips = []
    for _ in range(count):
        sweep = np.sin(2 * np.pi * (rng.uniform(100, 3000) * time + rng.uniform(-1000, 1000) * time**2))
        level = 10 ** rng.uniform(-3, 0)
        clips.append(32767 * level * (0.7 * sweep * np.hanning(16000) + 0.1 * rng.standard_normal(16000)).clip(-1, 1))
    extremes = np.zeros((3, 16000))
    extremes[1] = np.where(np.arange(16000) // 20 % 2, 32767, -32768)
    extremes[2, 8000] = 32767
    return np.concatenate([np.stack(clips), extremes])[:count].astype(np.int16) if count > 3 else np.stack(clips).astype(np.int16)


def real_clips(count: int) -> NDArray[np.int16]:
    """Clips of the Speech Commands subset, padded to a second; skips where the corpus is absent."""
    data = os.environ.get("JERBOA_DATA")
    folder = Path(data or "") / "speech-commands-subset"
    if not data or not folder.is_dir():
        pytest.skip("JERBOA_DATA names no folder with speech-commands-subset")
    listed = (folder / "testing_list.txt").read_text().split()
    chosen = listed[:: max(1, len(listed) // count)][:count]
    clips = np.zeros((len(chosen), 16000), np.int16)
    for row, name in zip(clips, chosen):
        place = folder / name
        samples, _ = soundfile.read(place if place.exists() else place.with_suffix(".flac"), dtype="int16")
        row[: len(samples[:16000])] = samples[:16000]
    return clips
