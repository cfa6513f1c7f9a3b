"""Spoken words from nothing: eSpeak NG in many voices, rates, pitches and rooms, run in processes of its own."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import Progress

from jerboa.audio import noise as noises
from jerboa.audio.augment import clip_rng
from jerboa.audio.clips import CLIP_SAMPLES, SAMPLE_RATE, fit, resample, to_int16
from jerboa.audio.layouts import Placed
from jerboa.audio.splits import HELD_OUT, SPLITS
from jerboa.audio.store import Made, keep
from jerboa.audio.voices import DIALECTS, UNKNOWN_WORDS, variants_by_split
from jerboa.errors import JerboaError, missing_extra
from jerboa.recipe import CorpusRecipe

WORKER = Path(__file__).with_name("synth_worker.py")
_RATE = (125, 215)
_PITCH = (25, 75)
_PITCH_RANGE = (30, 80)
_PEAK_DB = (-24.0, -3.0)
_ROOM_SECONDS = (0.05, 0.35)
_ROOM_SHARE = (0.0, 0.5)
_ROOM_PROBABILITY = 0.7
_LONGEST = 0.96
_JITTER_SECONDS = 0.05
# What eSpeak NG says depends a little on what it said before, so processes begin at fixed clips, not at one per core.
_PER_PROCESS = 64


@dataclass(frozen=True)
class Utterance:
    """One word in one voice."""

    key: str
    word: str
    speaker: str
    split: str
    voice: str
    rate: int
    pitch: int
    pitch_range: int


def unknown_words(recipe: CorpusRecipe) -> tuple[str, ...]:
    """The recipe's unknown words, or twenty common ones that are none of its keywords."""
    keywords = {word.lower() for word in recipe.words}
    return recipe.unknown or tuple(word for word in UNKNOWN_WORDS if word not in keywords)[:20]


def plan(recipe: CorpusRecipe, seed: int) -> list[Utterance]:
    """What is to be said by whom: ``clips_per_word`` of each keyword, twice as many of all unknown words together.

    A tenth of each word's clips, of voices of their own, validates and a tenth tests.
    """
    unknown = unknown_words(recipe)
    counts = {word: recipe.clips_per_word for word in recipe.words}
    counts |= {word: max(10, round(2 * recipe.clips_per_word / len(unknown))) for word in unknown}
    variants = variants_by_split(seed)
    dialects = [dialect for dialect, weight in DIALECTS.items() for _ in range(weight)]
    planned = []
    for word, count in counts.items():
        held_out = max(1, round(HELD_OUT * count))
        for split, some in zip(SPLITS, (count - 2 * held_out, held_out, held_out)):
            for number in range(some):
                rng = clip_rng(seed, f"{word}/{split}_{number}", 0)
                dialect, variant = dialects[rng.integers(len(dialects))], variants[split][rng.integers(len(variants[split]))]
                drawn = [int(rng.integers(*limits, endpoint=True)) for limits in (_RATE, _PITCH, _PITCH_RANGE)]
                speaker = f"{dialect}+{variant}"
                planned.append(Utterance(f"{word}/{split}_{number}", word, speaker, split, f"gmw/{speaker}", *drawn))
    return planned


def synthesize(recipe: CorpusRecipe, seed: int, cache: Path | None = None) -> tuple[list[Placed], NDArray[np.int16], noises.Parts]:
    """Clips of the recipe's words and of unknown ones, and noise: white, pink, brown and babble.

    Returns:
        what is said where, PCM int16[n, 16000], noise by split.

    Raises:
        JerboaError: the optional part is not installed, its process fails, or it has no sound for a word.
    """
    planned = plan(recipe, seed)
    content = hashlib.sha256(f"{seed}".encode())
    for text in (Path(__file__), WORKER):
        content.update(text.read_bytes())
    content.update(repr(planned).encode())
    pcm, _ = keep(cache, f"synthetic-{content.hexdigest()[:24]}", lambda: _speak_all(planned, seed))
    found = [Placed(one.key, one.word, one.speaker, one.split) for one in planned]
    noise = noises.parts(noises.coloured(seed))
    unknown = set(unknown_words(recipe))
    for split in SPLITS:
        others = [row for row, one in enumerate(planned) if one.split == split and one.word in unknown]
        noise[split].append(noises.babble(pcm[others], seed, split))
    return found, pcm, noise


def _speak_all(planned: list[Utterance], seed: int) -> Made:
    if importlib.util.find_spec("espeakng_loader") is None:
        raise missing_extra("espeakng-loader", "speech", "synthetic speech")
    pcm = np.zeros((len(planned), CLIP_SAMPLES), np.int16)
    console = Console(stderr=True)
    console.print(f"speaking {len(planned):,} clips with eSpeak NG")
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("speaking", total=len(planned))

        def work(first: int) -> None:
            with _worker() as voice:
                for row in range(first, min(first + _PER_PROCESS, len(planned))):
                    pcm[row] = _clip(voice, planned[row], seed)
                    progress.advance(task)

        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(work, range(0, len(planned), _PER_PROCESS)))
    return pcm, {}


def _clip(voice: _Voice, one: Utterance, seed: int) -> NDArray[np.int16]:
    rate = one.rate
    for _ in range(4):
        speech = trim(voice.say(one, rate))
        if not len(speech):
            raise JerboaError("eSpeak NG has no sound for this word", where=one.word, hint="spell it as it is spoken")
        if len(speech) <= _LONGEST * voice.rate:
            break
        rate = min(450, int(rate * 1.05 * len(speech) / (_LONGEST * voice.rate)) + 1)
    rng = clip_rng(seed, one.key, 1)
    return in_room(resample(speech, voice.rate), rng)


def trim(speech: NDArray[np.float64], threshold: float = 0.01) -> NDArray[np.float64]:
    """Without the quiet start and end: samples below a share of the peak."""
    loud = np.flatnonzero(np.abs(speech) > threshold * np.abs(speech).max(initial=0.0))
    return speech[loud[0] : loud[-1] + 1] if len(loud) else speech[:0]


def in_room(speech: NDArray[np.floating[Any]], rng: np.random.Generator) -> NDArray[np.int16]:
    """A clip int16[16000]: the speech about the middle, with the echo of a small room, at a level of its own."""
    wet, length, room = rng.uniform(*_ROOM_SHARE), rng.uniform(*_ROOM_SECONDS), rng.random()
    slack = min(max(CLIP_SAMPLES - len(speech), 0) // 2, _JITTER_SECONDS * SAMPLE_RATE)
    clip = np.roll(fit(speech), int(rng.uniform(-1, 1) * slack))
    if room < _ROOM_PROBABILITY:
        # Noise that falls by 60 dB over the room's reverberation time, after the direct sound.
        samples = int(length * SAMPLE_RATE)
        echo = rng.standard_normal(samples) * 10 ** (-3 * np.arange(samples) / samples)
        echo *= wet / np.sqrt((echo**2).sum())
        echo[0] = 1.0
        size = 2 * CLIP_SAMPLES
        clip = np.fft.irfft(np.fft.rfft(clip, size) * np.fft.rfft(echo, size), size)[:CLIP_SAMPLES]
    return to_int16(clip * (32768 * 10 ** (rng.uniform(*_PEAK_DB) / 20) / np.abs(clip).max()))


class _Voice:
    """A worker process and the pipe to it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.rate = int(self._answer()["rate"])

    def say(self, one: Utterance, rate: int) -> NDArray[np.float64]:
        """The word as samples of −1 to 1 at ``self.rate`` Hz."""
        request = {"text": one.word, "voice": one.voice, "rate": rate, "pitch": one.pitch, "range": one.pitch_range}
        assert self.process.stdin is not None and self.process.stdout is not None
        try:
            self.process.stdin.write(json.dumps(request).encode() + b"\n")
            self.process.stdin.flush()
        except OSError:
            raise JerboaError("the speech process ended", where=one.word) from None
        count = int(self._answer()["bytes"])
        pcm = self.process.stdout.read(count)
        if len(pcm) < count:
            raise JerboaError("the speech process ended", where=one.word)
        return np.frombuffer(pcm, "<i2") / 32768

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"error": "the speech process ended"}
        if "error" in answer:
            raise JerboaError(f"eSpeak NG: {answer['error']}", where="synthetic speech")
        return answer


@contextmanager
def _worker() -> Iterator[_Voice]:
    command = [sys.executable, str(WORKER)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            yield _Voice(process)
        finally:
            assert process.stdin is not None
            with suppress(BrokenPipeError):
                process.stdin.close()
            try:
                process.wait(5)
            except subprocess.TimeoutExpired:
                process.kill()
