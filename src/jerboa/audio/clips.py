"""One recording: read from a file, brought to 16 kHz mono and to one second."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from jerboa.errors import JerboaError, missing_extra

Sample = TypeVar("Sample", bound=np.generic)

SAMPLE_RATE = 16_000
CLIP_SAMPLES = 16_000
SUFFIXES = (".wav", ".flac")


def read_audio(path: Path) -> NDArray[np.int16]:
    """PCM int16[samples], mono, 16 kHz, of a WAV or FLAC file of any rate, depth and channel count.

    16-bit files at 16 kHz mono come back sample by sample as stored; others are averaged over channels, resampled and rounded.

    Raises:
        JerboaError: no such file, not WAV or FLAC, damaged, without samples, or with samples that are not numbers.
    """
    try:
        import soundfile
    except ImportError:
        raise missing_extra("soundfile", "audio", "reading recordings") from None
    try:
        with soundfile.SoundFile(path) as file:
            if file.format not in ("WAV", "WAVEX", "RF64", "FLAC"):
                raise JerboaError(f"this is {file.format} audio", where=path, allowed="WAV or FLAC")
            exact = file.subtype == "PCM_16" and file.samplerate == SAMPLE_RATE and file.channels == 1
            samples = file.read(dtype="int16" if exact else "float32", always_2d=True)
            rate, frames = file.samplerate, file.frames
    except (soundfile.LibsndfileError, OSError, RuntimeError) as error:
        raise JerboaError(f"cannot read this as audio ({error})", where=path, allowed="WAV or FLAC") from None
    if not len(samples):
        raise JerboaError("this recording holds no samples", where=path)
    if len(samples) < frames:
        raise JerboaError(f"this recording is damaged: {len(samples)} of {frames} samples can be read", where=path)
    if exact:
        pcm: NDArray[np.int16] = samples[:, 0]
        return pcm
    mono = samples.mean(axis=1)
    if not np.isfinite(mono).all():
        raise JerboaError("this recording holds samples that are not numbers", where=path)
    return to_int16(resample(mono, rate) * 32768)


def resample(samples: NDArray[np.floating[Any]], rate: int) -> NDArray[np.floating[Any]]:
    """Samples at ``rate`` Hz brought to 16 kHz."""
    if rate == SAMPLE_RATE:
        return samples
    try:
        import soxr
    except ImportError:
        raise missing_extra("soxr", "audio", f"resampling from {rate} Hz") from None
    resampled: NDArray[np.floating[Any]] = soxr.resample(samples, rate, SAMPLE_RATE)
    return resampled


def to_int16(samples: NDArray[np.floating[Any]]) -> NDArray[np.int16]:
    """Rounded and saturated to int16."""
    return np.clip(np.rint(samples), -32768, 32767).astype(np.int16)


def fit(pcm: NDArray[Sample], samples: int = CLIP_SAMPLES) -> NDArray[Sample]:
    """The middle ``samples`` of a longer recording, or a shorter one with zeros on both sides."""
    missing = samples - len(pcm)
    if missing > 0:
        return np.pad(pcm, (missing // 2, missing - missing // 2))
    start = -missing // 2
    return pcm[start : start + samples]
