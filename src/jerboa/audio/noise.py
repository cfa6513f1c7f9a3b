"""Background noise: its three parts, made where none was recorded, and the windows that stand for silence."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from jerboa.audio.augment import clip_rng
from jerboa.audio.clips import CLIP_SAMPLES, SAMPLE_RATE, to_int16

HELD_OUT_SILENCE = 110
_SHARES = {"train": (0.0, 0.70), "validation": (0.70, 0.85), "test": (0.85, 1.0)}
_GAIN_DB = (-30.0, 0.0)
_SECONDS = 30
# Power falls with frequency to this power.
_COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}
_LEVEL = 2000.0
# Clips at a time in babble; with a dozen, single words can still be made out.
_VOICES = 40

Parts = dict[str, list[NDArray[np.int16]]]


def parts(recordings: dict[str, NDArray[np.int16]]) -> Parts:
    """The first 70 % of each recording for training, the next 15 % for validation, the last 15 % for the test.

    A part shorter than a second is repeated to fill one.
    """
    return {
        split: [_at_least_a_clip(pcm[int(first * len(pcm)) : int(last * len(pcm))]) for _, pcm in sorted(recordings.items())]
        for split, (first, last) in _SHARES.items()
    }


def coloured(seed: int) -> dict[str, NDArray[np.int16]]:
    """Half a minute each of white, pink and brown noise, for corpora without recorded noise."""
    made = {}
    for name, power in _COLOURS.items():
        rng = clip_rng(seed, f"noise/{name}", 0)
        spectrum = np.fft.rfft(rng.standard_normal(_SECONDS * SAMPLE_RATE))
        frequency = np.maximum(np.fft.rfftfreq(_SECONDS * SAMPLE_RATE, 1 / SAMPLE_RATE), 20.0)
        samples = np.fft.irfft(spectrum * frequency ** (-power / 2))
        made[name] = to_int16(samples * (_LEVEL / samples.std()))
    return made


def babble(clips: NDArray[np.int16], seed: int, split: str) -> NDArray[np.int16]:
    """Half a minute of a crowd: spoken clips int16[n, 16000], made equally loud, laid over one another at random places."""
    rng = clip_rng(seed, f"noise/babble/{split}", 0)
    total = _SECONDS * SAMPLE_RATE
    mixed = np.zeros(total)
    for row in rng.integers(len(clips), size=_VOICES * _SECONDS):
        clip = clips[row].astype(float)
        place = (rng.integers(total) + np.arange(CLIP_SAMPLES)) % total
        mixed[place] += clip * (rng.uniform(0.5, 1.0) / max(clip.std(), 1.0))
    return to_int16(mixed * (_LEVEL / max(mixed.std(), 1e-9)))


def silence(noise: list[NDArray[np.int16]], key: str, seed: int) -> NDArray[np.int16]:
    """A one-second window of the noise at an offset and a gain that the key and the seed decide."""
    rng = clip_rng(seed, key, 0)
    pcm = noise[rng.integers(len(noise))]
    start = rng.integers(len(pcm) - CLIP_SAMPLES + 1)
    return to_int16(pcm[start : start + CLIP_SAMPLES] * 10 ** (rng.uniform(*_GAIN_DB) / 20))


def _at_least_a_clip(pcm: NDArray[np.int16]) -> NDArray[np.int16]:
    return pcm if len(pcm) >= CLIP_SAMPLES else np.resize(pcm, CLIP_SAMPLES)
