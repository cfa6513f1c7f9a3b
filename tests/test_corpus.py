"""Corpora: reading, splitting, silence, and every way in which a folder of recordings can be wrong."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corpora import speech_commands, tone, write
from hypothesis import given, settings
from hypothesis import strategies as st

from jerboa.audio.clips import CLIP_SAMPLES, fit, read_audio
from jerboa.audio.corpus import Corpus, load_corpus
from jerboa.audio.layouts import Placed, by_hash, recordings
from jerboa.audio.splits import SPLITS, share
from jerboa.errors import JerboaError
from jerboa.recipe import CorpusRecipe, parse_recipe

DATA = os.environ.get("JERBOA_DATA")


def recipe(path: Path, **keys: Any) -> CorpusRecipe:
    return CorpusRecipe(**{"kind": "folder", "path": path, "words": ("left", "right"), **keys})


def commands(path: Path, **keys: Any) -> CorpusRecipe:
    return recipe(path, kind="speech-commands", **keys)


def folder(path: Path, words: tuple[str, ...] = ("left", "right"), clips: int = 10) -> Path:
    for place, word in enumerate(words):
        for number in range(clips):
            write(path / word / f"{word}_{number}.wav", tone(200 + 100 * place + 7 * number))
    return path


def plain_folder(path: Path, words: tuple[str, ...] = ("left", "right")) -> list[Placed]:
    return by_hash(path, recordings(path, words, None))


def refusal(of: CorpusRecipe) -> str:
    with pytest.raises(JerboaError) as caught:
        load_corpus(of, seed=1)
    return str(caught.value)


# Recordings


@pytest.mark.parametrize(
    ("suffix", "rate", "subtype", "channels"),
    [
        ("wav", 44100, "PCM_24", 2),
        ("wav", 8000, "PCM_U8", 1),
        ("wav", 48000, "FLOAT", 1),
        ("flac", 22050, "PCM_16", 2),
        ("flac", 16000, "PCM_24", 1),
    ],
)
def test_any_rate_depth_and_channels_become_16_khz_mono(
    tmp_path: Path, suffix: str, rate: int, subtype: str, channels: int
) -> None:
    samples = np.tile(tone(440, 1.0, rate)[:, None], channels)
    pcm = read_audio(write(tmp_path / f"a.{suffix}", samples, rate, subtype))
    assert pcm.dtype == np.int16 and pcm.shape == (16000,)
    middle = slice(2000, 14000)
    assert np.abs(pcm[middle] - 32768 * tone(440)[middle]).max() < 400


def test_channels_are_averaged(tmp_path: Path) -> None:
    samples = np.stack([np.full(16000, 0.5), np.full(16000, -0.25)], axis=1)
    assert abs(int(np.median(read_audio(write(tmp_path / "a.wav", samples)))) - 0.125 * 32768) <= 1


@settings(deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=50))
def test_16_bit_recordings_are_read_as_stored(tmp_path_factory: pytest.TempPathFactory, values: list[int]) -> None:
    path = tmp_path_factory.mktemp("clips") / "a.flac"
    assert read_audio(write(path, np.array(values, np.int16))).tolist() == values


def test_full_scale_float_saturates_and_does_not_wrap(tmp_path: Path) -> None:
    pcm = read_audio(write(tmp_path / "a.wav", np.full(1000, 1.5), subtype="FLOAT"))
    assert (pcm == 32767).all()


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60))
def test_fit_keeps_the_middle_in_the_middle(length: int, samples: int) -> None:
    fitted = fit(np.arange(1, length + 1, dtype=np.int16), samples)
    assert len(fitted) == samples
    kept = fitted[fitted > 0]
    assert len(kept) == min(length, samples)
    assert abs((int(kept[0]) - 1) - (length - int(kept[-1]))) <= 1
    zeros = np.flatnonzero(fitted > 0)
    assert abs(int(zeros[0]) - (samples - 1 - int(zeros[-1]))) <= 1


# Layouts and splits


def test_lists_decide_the_split_also_for_flac(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    for path in list(tmp_path.glob("left/*.wav")):
        pcm = read_audio(path)
        path.unlink()
        write(path.with_suffix(".flac"), pcm)
    corpus = load_corpus(commands(tmp_path), seed=1)
    spoken = {clip.key: clip.split for clip in corpus.clips if clip.word != "silence"}
    assert spoken["left/00000009_nohash_0"] == spoken["right/00000009_nohash_0"] == "test"
    assert spoken["left/00000008_nohash_0"] == "validation"
    assert spoken["left/00000000_nohash_0"] == "train"
    assert len(spoken) == 20


def test_labels_unknown_and_silence(tmp_path: Path) -> None:
    speech_commands(tmp_path, ("left", "right", "cat", "bed"))
    corpus = load_corpus(commands(tmp_path, unknown=("cat", "bed")), seed=1)
    assert corpus.labels == ("left", "right", "unknown", "silence")
    of = {clip.word: clip.label for clip in corpus.clips}
    assert of == {"left": 0, "right": 1, "cat": 2, "bed": 2, "silence": 3}
    counts = {split: sum(clip.word == "silence" for clip in corpus.split(split)) for split in SPLITS}
    assert counts == {"train": 8, "validation": 110, "test": 110}


def test_clip_is_the_recording_itself(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    corpus = load_corpus(commands(tmp_path), seed=1, cache=tmp_path / "cache")
    clip = next(clip for clip in corpus.clips if clip.key == "right/00000003_nohash_0")
    assert (corpus.pcm(clip) == read_audio(tmp_path / "right/00000003_nohash_0.wav")).all()


def test_noise_parts_are_70_15_15_of_each_file(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    corpus = load_corpus(commands(tmp_path), seed=1)
    hiss = read_audio(tmp_path / "_background_noise_" / "hiss.wav")
    assert (corpus.noise["train"][0] == hiss[:112_000]).all()
    assert (corpus.noise["validation"][0] == hiss[112_000:136_000]).all()
    assert (corpus.noise["test"][0] == hiss[136_000:]).all()


def test_silence_comes_from_the_noise_of_its_split(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    ramp = np.arange(10 * 16000) // 5
    for name in ("hiss", "hum"):
        write(tmp_path / "_background_noise_" / f"{name}.wav", ramp.astype(np.int16))
    corpus = load_corpus(commands(tmp_path), seed=1)
    gains = set()
    for split, (low, high) in {"train": (0, 22400), "validation": (22400, 27200), "test": (27200, 32001)}.items():
        for clip in corpus.split(split):
            if clip.word == "silence":
                pcm = corpus.pcm(clip).astype(float)
                # A window of a ramp tells its gain by its slope and its place by its start.
                gain = (pcm[-1] - pcm[0]) / (15999 / 5)
                gains.add(round(gain, 1))
                assert low - 60 <= pcm[0] / gain and pcm[-1] / gain <= high + 60
    assert len(gains) > 4


def test_seed_decides_silence_and_nothing_else_does(tmp_path: Path) -> None:
    speech_commands(tmp_path)

    def windows(corpus: Corpus) -> np.ndarray:
        return np.stack([corpus.pcm(clip) for clip in corpus.split("test") if clip.word == "silence"])

    first, again, other = (load_corpus(commands(tmp_path), seed=seed) for seed in (1, 1, 2))
    assert (windows(first) == windows(again)).all()
    assert (windows(first) != windows(other)).any(axis=1).mean() > 0.9
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_folder_without_speakers_is_split_by_content(tmp_path: Path) -> None:
    folder(tmp_path, clips=40)
    write(tmp_path / "left" / "copy.wav", read_audio(tmp_path / "left" / "left_7.wav"))
    found = {one.key: one.split for one in plain_folder(tmp_path)}
    assert found["left/copy"] == found["left/left_7"]
    assert [list(found.values()).count(split) for split in SPLITS] == pytest.approx([65, 8, 8], abs=2)
    # A new name is no new clip.
    (tmp_path / "right" / "right_3.wav").rename(tmp_path / "right" / "zzz.wav")
    renamed = {one.key: one.split for one in plain_folder(tmp_path)}
    assert renamed["right/zzz"] == found["right/right_3"]


@pytest.mark.parametrize("name", ["{}_nohash_0.wav", "speaker_{}_take.wav", "speaker-{}-1.wav", "{}-first.wav"])
def test_folder_is_split_by_speaker_where_names_tell(tmp_path: Path, name: str) -> None:
    for word in ("left", "right"):
        for number in range(20):
            write(tmp_path / word / name.format(f"anna{number}"), tone(200 + number), 16000)
    found = plain_folder(tmp_path)
    home: dict[str, set[str]] = {}
    for one in found:
        home.setdefault(one.speaker, set()).add(one.split)
    assert len(home) == 20
    assert all(len(splits) == 1 for splits in home.values())
    assert [sum(splits == {split} for splits in home.values()) for split in SPLITS] == [16, 2, 2]


def test_word_and_number_are_not_read_as_speakers(tmp_path: Path) -> None:
    folder(tmp_path, ("left", "right", "stop", "go"))
    found = plain_folder(tmp_path, ("left", "right", "stop", "go"))
    for word in ("left", "right", "stop", "go"):
        assert {one.split for one in found if one.word == word} == set(SPLITS)


@settings(deadline=None)
@given(st.sets(st.text(min_size=1), min_size=3, max_size=60))
def test_shares_leave_no_split_empty_and_ignore_order(names: set[str]) -> None:
    split_of = share(names, "here")
    assert split_of == share(sorted(names, reverse=True), "here")
    assert set(split_of.values()) == set(SPLITS)
    assert list(split_of.values()).count("train") >= 0.6 * len(names) or len(names) < 6


def test_folder_without_noise_gets_made_noise(tmp_path: Path) -> None:
    corpus = load_corpus(recipe(folder(tmp_path)), seed=1)
    spectra = [np.abs(np.fft.rfft(pcm[:16000])) ** 2 for pcm in corpus.noise["train"]]
    tilts = sorted(spectrum[100:1000].mean() / spectrum[4000:7000].mean() for spectrum in spectra)
    assert tilts[0] == pytest.approx(1, rel=0.3) and 5 < tilts[1] < 40 and tilts[2] > 60
    assert all(pcm.std() > 100 for split in SPLITS for pcm in corpus.noise[split])


def test_max_clips_per_word(tmp_path: Path) -> None:
    corpus = load_corpus(recipe(folder(tmp_path, clips=30), max_clips_per_word=20), seed=1)
    assert sum(clip.word == "left" for clip in corpus.clips) == 20


def test_second_load_reads_no_recording_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    speech_commands(tmp_path / "corpus")
    first = load_corpus(commands(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache")

    def decode(*_: object) -> None:
        raise AssertionError("decoded again")

    with monkeypatch.context() as patched:
        patched.setattr("jerboa.audio.corpus._decode", decode)
        second = load_corpus(commands(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache")
    assert second.fingerprint == first.fingerprint
    assert not list((tmp_path / "cache").glob(".*"))
    write(tmp_path / "corpus/left/00000000_nohash_0.wav", tone(900, 0.5))
    assert load_corpus(commands(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache").fingerprint != first.fingerprint


def test_damaged_cache_is_made_again(tmp_path: Path) -> None:
    speech_commands(tmp_path / "corpus")
    fingerprint = load_corpus(commands(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache").fingerprint
    (kept,) = (tmp_path / "cache").glob("*.npy")
    kept.write_bytes(kept.read_bytes()[:5000])
    assert load_corpus(commands(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache").fingerprint == fingerprint


# Bad input


def test_missing_and_empty_corpus(tmp_path: Path) -> None:
    assert "no such corpus folder" in refusal(recipe(tmp_path / "none"))
    assert "empty" in refusal(recipe(tmp_path))
    assert "needs its folder" in refusal(CorpusRecipe(kind="folder", words=("left", "right")))


def test_one_word_is_not_a_task() -> None:
    with pytest.raises(JerboaError, match="words"):
        parse_recipe({"corpus": {"words": ["left"]}}, "recipe.toml")


def test_word_without_folder(tmp_path: Path) -> None:
    folder(tmp_path)
    message = refusal(recipe(tmp_path, words=("left", "rigth")))
    assert "rigth" in message and "did you mean 'right'?" in message
    (tmp_path / "up").mkdir()
    assert "up: this word's folder holds no recordings" in refusal(recipe(tmp_path, words=("left", "up")))


def spoil(path: Path, how: str) -> None:
    if how == "unreadable":
        path.write_bytes(b"RIFF\x00\x00")
    elif how == "zero-length":
        write(path, np.zeros(0))
    elif how == "wrong format":
        import soundfile

        soundfile.write(path, tone(440), 16000, format="OGG", subtype="VORBIS")
    elif how == "not a number":
        write(path, np.full(16000, np.nan), subtype="FLOAT")
    elif how == "cut off":
        write(path.with_suffix(".flac"), np.random.default_rng(1).uniform(-1, 1, 16000))
        path.write_bytes(path.with_suffix(".flac").read_bytes()[:8000])
        path.with_suffix(".flac").unlink()


@pytest.mark.parametrize("how", ["unreadable", "zero-length", "wrong format", "not a number", "cut off"])
def test_bad_audio_is_named_and_can_be_skipped(tmp_path: Path, how: str) -> None:
    folder(tmp_path, clips=12)
    spoil(tmp_path / "left" / "bad.wav", how)
    message = refusal(recipe(tmp_path))
    assert str(tmp_path / "left" / "bad.wav") in message and "--skip-bad-audio" in message
    for _ in range(2):
        corpus = load_corpus(recipe(tmp_path, skip_bad_audio=True), seed=1, cache=tmp_path / "cache")
        assert len(corpus.skipped) == 1 and "bad.wav" in corpus.skipped[0]
        assert sum(clip.word == "left" for clip in corpus.clips) == 12
        for clip in corpus.clips:
            if clip.key == "right/right_3":
                assert (corpus.pcm(clip) == read_audio(tmp_path / "right/right_3.wav")).all()


def test_bad_noise_is_named_and_can_be_skipped(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    spoil(tmp_path / "_background_noise_" / "bad.wav", "unreadable")
    assert "bad.wav" in refusal(commands(tmp_path))
    corpus = load_corpus(commands(tmp_path, skip_bad_audio=True), seed=1)
    assert len(corpus.skipped) == 1 and len(corpus.noise["train"]) == 2


def test_noise_shorter_than_a_second_still_gives_windows(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    for name in ("hiss", "hum"):
        write(tmp_path / "_background_noise_" / f"{name}.wav", tone(50, 0.5))
    corpus = load_corpus(commands(tmp_path), seed=1)
    assert all(len(pcm) >= CLIP_SAMPLES and pcm.any() for split in SPLITS for pcm in corpus.noise[split])


def test_too_few_clips_for_a_split(tmp_path: Path) -> None:
    assert "too few clips" in refusal(recipe(folder(tmp_path / "a", clips=2)))
    speech_commands(tmp_path / "b")
    (tmp_path / "b" / "left" / "00000008_nohash_0.wav").unlink()
    message = refusal(commands(tmp_path / "b"))
    assert "too few clips: 'left' has none in the validation split" in message


def test_missing_lists_and_missing_noise(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    (tmp_path / "testing_list.txt").unlink()
    message = refusal(commands(tmp_path))
    assert "testing_list.txt" in message and 'corpus.kind = "folder"' in message


def test_speaker_in_two_splits_is_named(tmp_path: Path) -> None:
    speech_commands(tmp_path)
    write(tmp_path / "left" / "00000009_nohash_1.wav", tone(300))
    message = refusal(commands(tmp_path))
    assert "speaker '00000009' is in two splits" in message and "left/00000009_nohash_1 in train" in message


def test_one_name_twice_is_refused(tmp_path: Path) -> None:
    folder(tmp_path)
    write(tmp_path / "left" / "left_3.flac", tone(300))
    assert "left_3.flac and left_3.wav" in refusal(recipe(tmp_path))


def test_cache_that_cannot_be_written(tmp_path: Path) -> None:
    folder(tmp_path / "corpus")
    (tmp_path / "cache").write_text("a file")
    with pytest.raises(JerboaError, match="cannot be written"):
        load_corpus(recipe(tmp_path / "corpus"), seed=1, cache=tmp_path / "cache")


# Real recordings


@pytest.mark.skipif(not DATA, reason="JERBOA_DATA names no folder of recordings")
def test_subset_of_speech_commands() -> None:
    path = Path(DATA or "") / "speech-commands-subset"
    corpus = load_corpus(commands(path, unknown=("bed",)), seed=1)
    listed = {line.removesuffix(".flac").removesuffix(".wav") for line in (path / "testing_list.txt").read_text().split()}
    tested = {clip.key for clip in corpus.split("test") if clip.word != "silence"}
    assert tested == {key for key in listed if key.split("/")[0] in ("left", "right", "bed")}
    speakers = [{clip.speaker for clip in corpus.split(split)} for split in SPLITS]
    assert not (speakers[0] & speakers[1] or speakers[0] & speakers[2] or speakers[1] & speakers[2])
    assert not corpus.skipped
