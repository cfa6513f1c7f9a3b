"""Features of many clips and their cache."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from jerboa.audio import features
from jerboa.audio.features import compute_features
from jerboa.audio.frontend import FrontendSpec, reference
from jerboa.errors import JerboaError

SPEC = FrontendSpec()


def clips(count: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, (count, 16000)).astype(np.int16)


def test_equals_the_definition_in_order():
    pcm = clips(150)
    got = compute_features(SPEC, pcm)
    assert got.shape == (150, 49, 40) and got.dtype == np.int8
    for index in (0, 63, 64, 149):
        assert np.array_equal(got[index], reference(SPEC, pcm[index]))


def test_no_clips_give_no_features():
    assert compute_features(SPEC, np.zeros((0, 16000), np.int16)).shape == (0, 49, 40)


@pytest.fixture
def computed(monkeypatch):
    """How often features were computed rather than read."""
    calls: list[int] = []
    original = features._compute
    monkeypatch.setattr(features, "_compute", lambda *args: (calls.append(1), original(*args))[1])
    return calls


def test_cache_answers_only_the_same_question(tmp_path, computed):
    pcm = clips(3)
    first = compute_features(SPEC, pcm, tmp_path)
    assert np.array_equal(compute_features(SPEC, pcm, tmp_path), first)
    assert len(computed) == 1
    compute_features(SPEC, clips(3, seed=2), tmp_path)
    compute_features(dataclasses.replace(SPEC, zero_point=44), pcm, tmp_path)
    compute_features(SPEC, pcm, tmp_path, key="corpus a")
    compute_features(SPEC, pcm, tmp_path, key="corpus b")
    assert len(computed) == 5
    compute_features(SPEC, pcm, tmp_path, key="corpus a")
    assert len(computed) == 5


def test_damaged_cache_is_computed_anew(tmp_path, computed):
    pcm = clips(2)
    first = compute_features(SPEC, pcm, tmp_path)
    (file,) = tmp_path.glob("*.npy")
    file.write_bytes(file.read_bytes()[:200])
    assert np.array_equal(compute_features(SPEC, pcm, tmp_path), first)
    assert len(computed) == 2
    assert np.array_equal(np.load(file), first)


def test_unwritable_cache_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(JerboaError, match="cannot be written"):
        compute_features(SPEC, clips(1), tmp_path / "file" / "folder")


def test_clips_shorter_than_a_window_are_named():
    with pytest.raises(JerboaError, match="shorter than the window"):
        compute_features(SPEC, np.zeros((2, 100), np.int16))
