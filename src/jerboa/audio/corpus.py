"""A corpus: labelled one-second clips in three splits, the noise that goes with them, and where they come from."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from jerboa.audio import noise as noises
from jerboa.audio.clips import CLIP_SAMPLES, fit, read_audio
from jerboa.audio.layouts import NOISE_FOLDER, Recording, by_hash, by_lists, noise_files, recordings
from jerboa.audio.splits import SPLITS
from jerboa.audio.store import Made, keep
from jerboa.errors import JerboaError
from jerboa.recipe import CorpusRecipe

SILENCE = "silence"
UNKNOWN = "unknown"


@dataclass(frozen=True)
class Clip:
    """One second of sound and what it is.

    Attributes:
        key: a stable name such as ``left/abc_nohash_0``.
        word: what is said; ``silence`` for a window of noise.
        label: index into the corpus' labels.
        speaker: who says it; never in two splits.
        split: ``train``, ``validation`` or ``test``.
    """

    key: str
    word: str
    label: int
    speaker: str
    split: str


@dataclass(frozen=True, eq=False)
class Corpus:
    """Clips and noise, split by speaker.

    Attributes:
        labels: class names in class order: the words, unknown, silence.
        clips: all clips; those of silence are windows of the noise.
        noise: background recordings int16, each a second or longer, by split.
        skipped: why each recording that could not be used was left out, naming the file.
    """

    labels: tuple[str, ...]
    clips: list[Clip]
    noise: dict[str, list[NDArray[np.int16]]]
    skipped: list[str]
    _pcm: Sequence[NDArray[np.int16]] = field(repr=False)

    def split(self, name: str) -> list[Clip]:
        """The clips of ``train``, ``validation`` or ``test``, always in the same order."""
        if name not in SPLITS:
            raise ValueError(f"no split '{name}'; known: {', '.join(SPLITS)}")
        return [clip for clip in self.clips if clip.split == name]

    def pcm(self, clip: Clip) -> NDArray[np.int16]:
        """The clip's int16[16000]."""
        return np.array(self._pcm[self._rows[clip.key]])

    @cached_property
    def fingerprint(self) -> str:
        """Changes with any sample, label or split of the clips and with any sample of the noise."""
        content = hashlib.sha256(repr(self.labels).encode())
        for clip in self.clips:
            content.update(f"{clip.key}\0{clip.label}\0{clip.split}\0".encode())
            content.update(self._pcm[self._rows[clip.key]].tobytes())
        for split in SPLITS:
            for recording in self.noise[split]:
                content.update(recording.tobytes())
        return content.hexdigest()[:24]

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {clip.key: row for row, clip in enumerate(self.clips)}


def load_corpus(recipe: CorpusRecipe, seed: int, cache: Path | None = None) -> Corpus:
    """The corpus that a recipe describes.

    Args:
        recipe: kind, folder and words.
        seed: decides the windows of silence, noise that is made and synthetic speech.
        cache: folder for decoded recordings and synthetic speech; None keeps none.

    Raises:
        JerboaError: a missing or empty corpus or word, a recording that cannot be used (unless ``skip_bad_audio``), a
            speaker in two splits, too few clips for a split, a download that fails, a missing optional package.
    """
    words = [*recipe.words, *recipe.unknown]
    if recipe.kind == "synthetic":
        from jerboa.audio.synth import synthesize

        found, pcm, noise = synthesize(recipe, seed, cache)
        skipped: list[str] = []
    else:
        folder = _folder(recipe)
        listed = recordings(folder, words, recipe.max_clips_per_word)
        good, pcm, skipped = _decoded(listed, recipe.skip_bad_audio, cache)
        found = by_lists(folder, good) if recipe.kind == "speech-commands" else by_hash(folder, good)
        noise = _noise(folder, recipe, seed, skipped)
    clips = [Clip(one.key, one.word, _label(recipe, one.word), one.speaker, one.split) for one in found]
    _check(recipe, clips)
    clips, pcm = _with_silence(recipe, clips, pcm, noise, seed)
    return Corpus(recipe.labels, clips, noise, skipped, pcm)


def _folder(recipe: CorpusRecipe) -> Path:
    if recipe.path is None:
        raise JerboaError(f'a corpus of kind "{recipe.kind}" needs its folder', where="corpus.path")
    if recipe.download:
        from jerboa.audio.download import fetch_speech_commands

        if recipe.kind != "speech-commands":
            raise JerboaError("only Speech Commands can be downloaded", where="corpus.download", allowed='kind = "speech-commands"')
        fetch_speech_commands(recipe.path)
    return recipe.path


def _label(recipe: CorpusRecipe, word: str) -> int:
    return recipe.labels.index(word if word in recipe.words else UNKNOWN)


def _decoded(found: list[Recording], skip: bool, cache: Path | None) -> tuple[list[Recording], NDArray[np.int16], list[str]]:
    """The recordings that can be used, their PCM int16[n, 16000], and why the others cannot."""
    name = hashlib.sha256(f"{CLIP_SAMPLES} {skip}".encode())
    for one in found:
        status = one.path.stat()
        name.update(f"{one.path.resolve()}\0{status.st_size}\0{status.st_mtime_ns}\0".encode())
    pcm, description = keep(cache, f"recordings-{name.hexdigest()[:24]}", lambda: _decode(found, skip))
    bad = dict(description["bad"])
    return [one for one in found if one.key not in bad], pcm, list(bad.values())


def _decode(found: list[Recording], skip: bool) -> Made:
    pcm = np.zeros((len(found), CLIP_SAMPLES), np.int16)
    bad: dict[str, str] = {}

    def one(row: int) -> None:
        try:
            pcm[row] = fit(read_audio(found[row].path))
        except JerboaError as error:
            if not skip or "is not installed" in error.what:
                error.hint = error.hint or "mend or remove it, or leave out all such files with --skip-bad-audio"
                raise JerboaError(error.what, where=error.where, allowed=error.allowed, hint=error.hint) from None
            bad[found[row].key] = str(error)

    console = Console(stderr=True)
    console.print(f"reading {len(found):,} recordings")
    with ThreadPoolExecutor(os.cpu_count()) as pool, Progress(console=console, transient=True) as progress:
        task = progress.add_task("reading", total=len(found))
        try:
            for _ in pool.map(one, range(len(found))):
                progress.advance(task)
        except JerboaError:
            pool.shutdown(cancel_futures=True)
            raise
    good = [row for row, recording in enumerate(found) if recording.key not in bad]
    return pcm if len(good) == len(found) else pcm[good], {"bad": sorted(bad.items())}


def _noise(folder: Path, recipe: CorpusRecipe, seed: int, skipped: list[str]) -> noises.Parts:
    found = {}
    for path in noise_files(folder):
        try:
            found[path.stem] = read_audio(path)
        except JerboaError as error:
            if not recipe.skip_bad_audio:
                raise
            skipped.append(str(error))
    if not found and recipe.kind == "speech-commands":
        raise JerboaError(f"no background noise in {NOISE_FOLDER}", where=folder, allowed=".wav or .flac files")
    return noises.parts(found or noises.coloured(seed))


def _check(recipe: CorpusRecipe, clips: list[Clip]) -> None:
    """Splits are disjoint by speaker, and each class has clips in each."""
    home: dict[str, Clip] = {}
    for clip in clips:
        first = home.setdefault(clip.speaker, clip)
        if first.split != clip.split:
            raise JerboaError(
                f"speaker '{clip.speaker}' is in two splits: {first.key} in {first.split}, {clip.key} in {clip.split}",
                where=recipe.path,
                hint="the lists of a corpus must keep all recordings of a speaker in one split",
            )
    counts = Counter((clip.label, clip.split) for clip in clips)
    for label, name in enumerate(recipe.labels):
        if name == SILENCE or (name == UNKNOWN and recipe.kind != "synthetic" and not recipe.unknown):
            continue
        for split in SPLITS:
            if not counts[label, split]:
                raise JerboaError(
                    f"too few clips: '{name}' has none in the {split} split",
                    where=recipe.path,
                    hint="add recordings, by other speakers where names tell them; about 30 of each word is a start",
                )


def _with_silence(
    recipe: CorpusRecipe, clips: list[Clip], pcm: NDArray[np.int16], noise: noises.Parts, seed: int
) -> tuple[list[Clip], Any]:
    """The clips and as many windows of noise as the task asks for."""
    words = {clip.word for clip in clips}
    training = round(sum(clip.split == "train" for clip in clips) / len(words))
    windows, silent = [], []
    for split, count in zip(SPLITS, (training, noises.HELD_OUT_SILENCE, noises.HELD_OUT_SILENCE)):
        for number in range(count):
            clip = Clip(f"{SILENCE}/{split}_{number}", SILENCE, len(recipe.labels) - 1, f"{SILENCE} ({split})", split)
            silent.append(clip)
            windows.append(noises.silence(noise[split], clip.key, seed))
    return clips + silent, _Rows(pcm, np.stack(windows))


class _Rows(Sequence[NDArray[np.int16]]):
    """Two arrays one after the other, without copying the mapped one."""

    def __init__(self, first: NDArray[np.int16], second: NDArray[np.int16]) -> None:
        self.first, self.second = first, second

    def __len__(self) -> int:
        return len(self.first) + len(self.second)

    def __getitem__(self, row: Any) -> Any:
        return self.first[row] if row < len(self.first) else self.second[row - len(self.first)]
