"""Synthetic speech: every word in many voices, no voice in two splits, the same again from the same seed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from jerboa.audio import synth
from jerboa.audio.corpus import load_corpus
from jerboa.audio.splits import SPLITS
from jerboa.audio.voices import UNKNOWN_WORDS, VARIANTS, family, variants_by_split
from jerboa.errors import JerboaError
from jerboa.recipe import CorpusRecipe

WORDS = ("lumos", "nox")


def recipe(**keys: Any) -> CorpusRecipe:
    return CorpusRecipe(**{"kind": "synthetic", "words": WORDS, "clips_per_word": 30, "unknown": ("house", "water"), **keys})


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Any:
    pytest.importorskip("espeakng_loader")
    return load_corpus(recipe(), 1, tmp_path_factory.mktemp("cache"))


def test_counts_by_class_and_split(spoken: Any) -> None:
    assert spoken.labels == ("lumos", "nox", "unknown", "silence")
    counts = {split: [sum(clip.label == label for clip in spoken.split(split)) for label in range(4)] for split in SPLITS}
    assert counts == {"train": [24, 24, 48, 24], "validation": [3, 3, 6, 110], "test": [3, 3, 6, 110]}


def test_no_voice_is_heard_in_two_splits(spoken: Any) -> None:
    for seed in range(5):
        variants = variants_by_split(seed)
        assert sorted(variant for split in SPLITS for variant in variants[split]) == sorted(VARIANTS)
        families = [{family(variant) for variant in variants[split]} for split in SPLITS]
        assert not (families[0] & families[1] or families[0] & families[2] or families[1] & families[2])
    heard = {clip.speaker.split("+")[1]: clip.split for clip in spoken.clips if clip.word != "silence"}
    assert all(variant in variants_by_split(1)[split] for variant, split in heard.items())
    assert len(heard) > 25


def test_every_clip_is_speech_in_the_middle_at_a_level_of_its_own(spoken: Any) -> None:
    pcm = np.stack([spoken.pcm(clip) for clip in spoken.clips if clip.word != "silence"]).astype(float)
    peaks = np.abs(pcm).max(axis=1)
    assert peaks.min() > 1500 and peaks.max() < 32767 and peaks.max() / peaks.min() > 5
    power = pcm**2
    loud = np.abs(pcm) > 0.05 * peaks[:, None]
    middle = (loud.argmax(axis=1) + 15999 - loud[:, ::-1].argmax(axis=1)) / 2
    assert np.median(np.abs(middle - 8000)) < 1200 and np.abs(middle - 8000).max() < 4800
    # Trimmed and padded: quiet at both ends, loud between.
    assert np.median(power[:, :1500].mean(axis=1) / power[:, 4000:12000].mean(axis=1)) < 0.01
    assert len(np.unique(pcm, axis=0)) == len(pcm)


def test_words_sound_unlike_one_another_and_like_themselves(spoken: Any) -> None:
    """Mean spectra over time of a word in training resemble those of the same word in unseen voices more."""

    def picture(clip: Any) -> np.ndarray:
        pcm = spoken.pcm(clip).astype(float)
        loud = np.flatnonzero(np.abs(pcm) > 0.1 * np.abs(pcm).max())
        parts = np.array_split(pcm[loud[0] : loud[-1]], 6)
        bands = [[np.log(1e-3 + (np.abs(np.fft.rfft(part, 1024)[low:high]) ** 2).mean()) for low, high in EDGES] for part in parts]
        flat = np.ravel(bands)
        return (flat - flat.mean()) / flat.std()

    EDGES = [(4, 16), (16, 32), (32, 64), (64, 128), (128, 256), (256, 480)]
    means = [np.mean([picture(clip) for clip in spoken.split("train") if clip.label == label], axis=0) for label in (0, 1)]
    held_out = [clip for split in ("validation", "test") for clip in spoken.split(split) if clip.label < 2]
    right = [np.argmax([picture(clip) @ mean for mean in means]) == clip.label for clip in held_out]
    assert np.mean(right) > 0.8


def test_noise_has_babble_of_each_split(spoken: Any) -> None:
    for split in SPLITS:
        assert len(spoken.noise[split]) == 4
        assert all(len(pcm) >= 16000 and pcm.std() > 100 for pcm in spoken.noise[split])
    assert (spoken.noise["train"][3][:16000] != spoken.noise["test"][3][:16000]).any()


def test_same_seed_same_bytes_without_the_cache(spoken: Any) -> None:
    again = load_corpus(recipe(), 1)
    assert again.fingerprint == spoken.fingerprint
    assert [clip.speaker for clip in again.clips] != [clip.speaker for clip in synth.plan(recipe(), 2)]


def test_second_time_comes_from_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("espeakng_loader")
    first = load_corpus(recipe(clips_per_word=20), 1, tmp_path)

    def speak(*_: object) -> None:
        raise AssertionError("spoken again")

    monkeypatch.setattr(synth, "_speak_all", speak)
    assert load_corpus(recipe(clips_per_word=20), 1, tmp_path).fingerprint == first.fingerprint


def test_unknown_words_are_never_keywords() -> None:
    chosen = synth.unknown_words(recipe(words=("house", "Water", "go"), unknown=()))
    assert len(chosen) == 20 and not {"house", "water", "go"} & set(chosen) and set(chosen) <= set(UNKNOWN_WORDS)
    assert synth.unknown_words(recipe()) == ("house", "water")


def test_long_words_fit_into_a_second() -> None:
    pytest.importorskip("espeakng_loader")
    one = synth.Utterance("a", "supercalifragilistic expialidocious", "en+m1", "train", "gmw/en+m1", 130, 50, 50)
    with synth._worker() as voice:
        assert len(voice.say(one, one.rate)) > 1.2 * voice.rate
        pcm = synth._clip(voice, one, 1)
    assert np.abs(pcm[:100].astype(int)).max() < 0.1 * np.abs(pcm.astype(int)).max()


def test_a_word_without_sound_is_named() -> None:
    pytest.importorskip("espeakng_loader")
    with pytest.raises(JerboaError, match=r"-: eSpeak NG has no sound for this word"):
        load_corpus(recipe(words=("nox", "-")), 1)


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(JerboaError, match=r"jerboa\[speech\]"):
        load_corpus(recipe(), 1)


def test_process_that_dies_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    worker = tmp_path / "worker.py"
    worker.write_text("print('{\"rate\": 22050}', flush=True)")
    monkeypatch.setattr(synth, "WORKER", worker)
    with pytest.raises(JerboaError, match="process ended"):
        load_corpus(recipe(), 1)


def test_worker_is_a_program_of_its_own() -> None:
    tree = ast.parse(synth.WORKER.read_text(encoding="utf-8"))
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert imported - set(sys.stdlib_module_names) == {"espeakng_loader"}
    assert "SPDX-License-Identifier" in synth.WORKER.read_text(encoding="utf-8").splitlines()[0]
    code = "import sys, jerboa.audio.synth; sys.exit('espeakng_loader' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
