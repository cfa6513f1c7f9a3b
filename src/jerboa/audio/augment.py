"""Random changes to training clips; every draw comes from a generator that the clip's key seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jerboa.audio.clips import SAMPLE_RATE, to_int16
from jerboa.recipe import AugmentRecipe

_QUIET = 10.0


def clip_rng(seed: int, key: str, copy: int) -> np.random.Generator:
    """The generator of one version of one clip: the same on every machine and in every order."""
    digest = hashlib.sha256(f"{seed}\0{key}\0{copy}".encode()).digest()
    return np.random.default_rng(int.from_bytes(digest[:16], "little"))


def augment(
    pcm: NDArray[np.int16], rng: np.random.Generator, recipe: AugmentRecipe, noise: Sequence[NDArray[np.int16]]
) -> NDArray[np.int16]:
    """A clip at another speed, moved in time, louder or softer, and with background noise.

    Args:
        pcm: int16[samples].
        rng: gives every draw, see :func:`clip_rng`.
        recipe: the ranges, symmetric about no change; zero ranges and no noise give the clip back.
        noise: background recordings, int16 of any length; an empty one adds none.

    Returns:
        int16[samples] of the same length, saturated where it would overflow.
    """
    samples = len(pcm)
    rate = 1 + rng.uniform(-recipe.speed, recipe.speed)
    limit = recipe.shift_ms * SAMPLE_RATE / 1000
    shift = round(rng.uniform(-limit, limit))
    values = _move(pcm, rate, shift)
    # Drawn whether used or not, so that one range does not change what another draws.
    noisy, snr, which, offset = rng.random(), rng.uniform(*recipe.snr_db), rng.random(), rng.random()
    if noise and noisy < recipe.noise_probability:
        background = _excerpt(noise[int(which * len(noise))], samples, offset).astype(np.float32)
        level = _rms(background)
        if level > 0:
            values += background * np.float32(max(_rms(values), _QUIET) / level * 10 ** (-snr / 20))
    values *= np.float32(10 ** (rng.uniform(-recipe.gain_db, recipe.gain_db) / 20))
    return to_int16(values)


def spec_augment(features: NDArray[np.int8], rng: np.random.Generator, recipe: AugmentRecipe, fill: int) -> NDArray[np.int8]:
    """A copy of the features with random spans of frames and of bands masked (SpecAugment, Park et al. 2019, no time warping).

    Args:
        features: int8 [N, T, F], each clip with masks of its own, or one clip [T, F].
        fill: the value that masked features take.
    """
    clips = features[None] if features.ndim == 2 else features
    count, frames, bands = clips.shape
    masked = _spans(rng, count, frames, recipe.time_masks, recipe.time_mask_frames)[:, :, None]
    masked = masked | _spans(rng, count, bands, recipe.frequency_masks, recipe.frequency_mask_bands)[:, None, :]
    return np.where(masked, np.int8(fill), clips).reshape(features.shape)


def warp_bands(features: NDArray[np.int8], rng: np.random.Generator, warp: float) -> NDArray[np.int8]:
    """A copy of log-mel features as another vocal tract would give them (VTLP, Jaitly and Hinton, ICML 2013 workshop).

    Each clip's band axis is stretched by a factor of 1 ± ``warp`` and moved by up to half a band, with linear interpolation.

    Args:
        features: int8 [N, T, F].
    """
    count, _, bands = features.shape
    factor = 1 + rng.uniform(-warp, warp, (count, 1))
    places = np.clip(np.arange(bands) * factor + rng.uniform(-0.5, 0.5, (count, 1)), 0, bands - 1.001)
    whole = places.astype(np.intp)[:, None, :]
    part = (places[:, None, :] - whole).astype(np.float32)
    low, high = (np.take_along_axis(features, whole + step, axis=2).astype(np.float32) for step in (0, 1))
    return np.rint(low + (high - low) * part).astype(np.int8)


def _spans(rng: np.random.Generator, count: int, length: int, masks: int, widest: int) -> NDArray[np.bool_]:
    widths = rng.integers(0, min(widest, length) + 1, size=(count, masks, 1))
    starts = rng.integers(0, length - widths + 1)
    places = np.arange(length)
    return np.logical_or.reduce((places >= starts) & (places < starts + widths), axis=1)


def _move(pcm: NDArray[np.int16], rate: float, shift: int) -> NDArray[np.float32]:
    """Played at ``rate`` about the middle, then ``shift`` samples later, with zeros where nothing was recorded."""
    samples = len(pcm)
    if rate == 1:
        values = np.zeros(samples, np.float32)
        first, last = max(shift, 0), min(samples + shift, samples)
        if first < last:
            values[first:last] = pcm[first - shift : last - shift]
        return values
    middle = (samples - 1) / 2
    places = np.arange(samples, dtype=np.float32)
    source = (places - np.float32(middle + shift)) * np.float32(rate) + np.float32(middle)
    whole = np.floor(source)
    index = whole.astype(np.int32) + 1
    np.clip(index, 0, samples + 1, out=index)
    padded = np.zeros(samples + 3, np.float32)
    padded[1 : samples + 1] = pcm
    left = padded[index]
    values = (left + (padded[index + 1] - left) * (source - whole)).astype(np.float32)
    return values


def _excerpt(noise: NDArray[np.int16], samples: int, offset: float) -> NDArray[np.int16]:
    if len(noise) < samples:
        return np.resize(noise, samples)
    start = int(offset * (len(noise) - samples + 1))
    return noise[start : start + samples]


def _rms(values: NDArray[np.float32]) -> float:
    return float(np.sqrt(np.dot(values, values) / max(len(values), 1)))
