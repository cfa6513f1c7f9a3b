"""Small corpora on disk for tests: tones with the names and the lists of the real thing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile


def tone(frequency: float, seconds: float = 1.0, rate: int = 16000, level: float = 0.5) -> np.ndarray:
    """float64[samples] of a sine."""
    return level * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)


def write(path: Path, samples: np.ndarray, rate: int = 16000, subtype: str = "PCM_16") -> Path:
    """A recording, with its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def speech_commands(folder: Path, words: tuple[str, ...] = ("left", "right"), speakers: int = 10) -> Path:
    """Each word by each speaker; the last speaker tests and the one before validates. Two noise files of 10 s."""
    for place, word in enumerate(words):
        for speaker in range(speakers):
            write(folder / word / f"{speaker:08x}_nohash_0.wav", tone(200 + 100 * place + 7 * speaker))
    for name, speaker in (("testing_list.txt", speakers - 1), ("validation_list.txt", speakers - 2)):
        (folder / name).write_text("".join(f"{word}/{speaker:08x}_nohash_0.wav\n" for word in words))
    rng = np.random.default_rng(1)
    for name in ("hiss", "hum"):
        write(folder / "_background_noise_" / f"{name}.wav", rng.uniform(-0.5, 0.5, 160_000))
    return folder
