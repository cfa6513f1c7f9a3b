"""Augmentation: each change does what its range says, and the draws depend on nothing but seed, key and copy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from corpora import tone
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from jerboa.audio.augment import augment, clip_rng, spec_augment, warp_bands
from jerboa.recipe import AugmentRecipe

STILL: dict[str, Any] = {"shift_ms": 0, "gain_db": 0, "noise_probability": 0, "speed": 0}


def recipe(**keys: Any) -> AugmentRecipe:
    return AugmentRecipe(**{**STILL, **keys})


def speech() -> np.ndarray:
    """A tone in the middle third of a second."""
    pcm = np.zeros(16000, np.int16)
    pcm[5000:11000] = (tone(440)[5000:11000] * 20000).astype(np.int16)
    return pcm


def noise(seconds: float = 5) -> np.ndarray:
    return np.random.default_rng(3).integers(-3000, 3000, round(seconds * 16000)).astype(np.int16)


@settings(deadline=None)
@given(arrays(np.int16, st.integers(1, 300)), st.integers(0, 9))
def test_no_range_no_change(pcm: np.ndarray, copy: int) -> None:
    assert (augment(pcm, clip_rng(1, "a", copy), recipe(), []) == pcm).all()


@settings(max_examples=50, deadline=None)
@given(arrays(np.int16, 500, elements=st.integers(-32768, 32767)), st.integers(0, 1000))
def test_loud_clips_saturate_and_never_change_sign(pcm: np.ndarray, copy: int) -> None:
    louder = augment(pcm, clip_rng(1, "a", copy), recipe(gain_db=40), [])
    assert louder.dtype == np.int16 and louder.shape == pcm.shape
    assert (louder.astype(int) * pcm >= 0).all()


def test_gain_stays_in_its_range_and_uses_it() -> None:
    peaks = np.array([augment(speech(), clip_rng(1, "a", i), recipe(gain_db=6), []).max() for i in range(200)])
    gains = 20 * np.log10(peaks / speech().max())
    assert np.abs(gains).max() <= 6.01 and gains.min() < -5 and gains.max() > 5


def test_shift_moves_the_clip_both_ways_and_loses_nothing_inside() -> None:
    starts = []
    for copy in range(100):
        moved = augment(speech(), clip_rng(1, "a", copy), recipe(shift_ms=100), [])
        first = int(np.flatnonzero(moved)[0]) - int(np.flatnonzero(speech())[0])
        assert (moved == np.roll(speech(), first)).all()
        starts.append(first)
    assert max(np.abs(starts)) <= 1600 and min(starts) < -1200 and max(starts) > 1200


def test_speed_changes_pitch_and_length_about_the_middle() -> None:
    for copy in range(20):
        played = augment(speech(), clip_rng(1, "a", copy), recipe(speed=0.2), [])
        loud = np.flatnonzero(np.abs(played) > 500)
        rate = 6000 / (loud[-1] - loud[0] + 1)
        assert 0.79 < rate < 1.22 and abs((loud[0] + loud[-1]) / 2 - 8000) < 40
        spectrum = np.abs(np.fft.rfft(played * np.hanning(16000)))
        assert spectrum.argmax() == pytest.approx(440 * rate, rel=0.02)


@pytest.mark.parametrize("snr", [0.0, 10.0, 20.0])
def test_noise_comes_at_the_ratio_asked_for(snr: float) -> None:
    clip = speech()
    noisy = augment(clip, clip_rng(1, "a", 0), recipe(noise_probability=1, snr_db=(snr, snr)), [noise()])
    added = noisy.astype(float) - clip
    assert 10 * np.log10((clip.astype(float) ** 2).mean() / (added**2).mean()) == pytest.approx(snr, abs=0.1)


def test_noise_comes_as_often_as_asked_for_and_from_every_recording() -> None:
    silent, loud = np.zeros(20000, np.int16), noise()
    some = recipe(noise_probability=0.5)
    changed = [(augment(speech(), clip_rng(1, "a", i), some, [silent, loud]) != speech()).any() for i in range(400)]
    assert 0.18 < np.mean(changed) < 0.32


def test_noise_shorter_than_the_clip_is_repeated() -> None:
    noisy = augment(speech(), clip_rng(1, "a", 0), recipe(noise_probability=1, snr_db=(0, 0)), [noise(0.1)])
    assert (noisy != speech()).mean() > 0.95


def test_draws_depend_on_seed_key_and_copy() -> None:
    everything = AugmentRecipe()

    def version(seed: int, key: str, copy: int) -> bytes:
        return augment(speech(), clip_rng(seed, key, copy), everything, [noise()]).tobytes()

    assert version(1, "a", 0) == version(1, "a", 0)
    assert len({version(1, "a", 0), version(2, "a", 0), version(1, "b", 0), version(1, "a", 1)}) == 4
    # The same on every machine and in every version: trained networks can be made again.
    assert clip_rng(1, "left/abc_nohash_0", 2).integers(1 << 30) == 672926178


def test_masks_are_whole_spans_within_their_limits() -> None:
    asked = AugmentRecipe(time_masks=1, time_mask_frames=6, frequency_masks=1, frequency_mask_bands=5)
    features = np.random.default_rng(1).integers(0, 127, (400, 49, 40)).astype(np.int8)
    before = features.copy()
    masked = spec_augment(features, clip_rng(1, "a", 0), asked, -100)
    assert (features == before).all() and masked.dtype == np.int8
    hidden = masked == -100
    assert (masked[~hidden] == features[~hidden]).all()
    frames, bands = hidden.all(axis=2), hidden.all(axis=1)
    assert (hidden == (frames[:, :, None] | bands[:, None, :])).all()
    for spans, widest in ((frames, 6), (bands, 5)):
        widths = spans.sum(axis=1)
        assert set(widths) == set(range(widest + 1))
        assert (np.diff(spans.astype(int), axis=1, prepend=0) == 1).sum(axis=1).max() == 1
        assert spans.any(axis=0).all()


def test_masks_differ_between_clips_and_one_clip_is_masked_alike() -> None:
    features = np.full((50, 49, 40), 7, np.int8)
    masked = spec_augment(features, clip_rng(1, "a", 0), AugmentRecipe(), 0)
    assert len({clip.tobytes() for clip in masked}) > 40
    single = spec_augment(features[0], clip_rng(1, "a", 0), AugmentRecipe(), 0)
    assert single.shape == (49, 40) and (single == 0).any()


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(1, 8), st.integers(0, 20), st.integers(0, 3))
def test_masks_wider_than_the_features_are_no_error(frames: int, bands: int, widest: int, masks: int) -> None:
    asked = AugmentRecipe(time_masks=masks, time_mask_frames=widest, frequency_masks=masks, frequency_mask_bands=widest)
    features = np.ones((3, frames, bands), np.int8)
    masked = spec_augment(features, clip_rng(1, "a", 0), asked, 1)
    assert (masked == features).all()


def test_warped_bands_are_a_stretch_of_each_clip() -> None:
    ramp = np.broadcast_to(np.arange(0, 120, 3, dtype=np.int8), (50, 7, 40))
    warped = warp_bands(ramp, np.random.default_rng(0), 0.2).astype(int)
    assert (warped == warped[:, :1]).all(), "every frame of a clip is stretched alike"
    slopes = (warped[:, 0, 30] - warped[:, 0, 5]) / 25 / 3
    assert 0.78 < slopes.min() < 0.87 and 1.13 < slopes.max() < 1.22
    assert np.abs(warped[:, 0] - np.clip(slopes[:, None] * ramp[:, 0], 0, 117)).max() <= 4
    np.testing.assert_array_equal(warp_bands(ramp, np.random.default_rng(0), 0.2), warped)
