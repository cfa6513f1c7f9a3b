"""Folders of recordings: which files are there, of which word, speaker and split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from jerboa.audio.clips import SUFFIXES
from jerboa.audio.splits import digest, share, speaker_of, speakers_of
from jerboa.errors import JerboaError, did_you_mean

NOISE_FOLDER = "_background_noise_"
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


@dataclass(frozen=True)
class Recording:
    """A file of a word; its key is ``<word>/<file name without suffix>``."""

    key: str
    word: str
    path: Path


@dataclass(frozen=True)
class Placed:
    """A recording that has its split.

    Attributes:
        speaker: who spoke, or the content's hash where nothing tells.
    """

    key: str
    word: str
    speaker: str
    split: str


def recordings(folder: Path, words: Iterable[str], limit: int | None) -> list[Recording]:
    """The files ``<word>/*.wav`` and ``.flac``, at most ``limit`` of a word, chosen by the hash of their names.

    Raises:
        JerboaError: no such folder or word, a word without recordings, two files of one name.
    """
    return [Recording(f"{word}/{path.stem}", word, path) for word, paths in _files(folder, words, limit).items() for path in paths]


def by_lists(folder: Path, found: list[Recording]) -> list[Placed]:
    """The splits of Speech Commands: its two lists say what validates and what tests, all else trains.

    Raises:
        JerboaError: a missing list.
    """
    listed: dict[str, str] = {}
    for split, name in _LISTS.items():
        try:
            lines = (folder / name).read_text(encoding="utf-8").split()
        except (OSError, UnicodeDecodeError) as error:
            raise JerboaError(
                f"cannot read {name} ({error.__class__.__name__})",
                where=folder,
                hint='for a folder without lists, set corpus.kind = "folder"',
            ) from None
        listed |= {str(PurePosixPath(line).with_suffix("")): split for line in lines}
    return [Placed(one.key, one.word, speaker_of(one.path.stem) or one.path.stem, listed.get(one.key, "train")) for one in found]


def by_hash(folder: Path, found: list[Recording]) -> list[Placed]:
    """Splits of about 80/10/10, by speaker where file names tell speakers, else word by word by content.

    Two files with equal content always share a split.

    Raises:
        JerboaError: too few different recordings for three splits.
    """
    words: dict[str, list[Recording]] = {}
    for one in found:
        words.setdefault(one.word, []).append(one)
    named = speakers_of({word: [one.path.stem for one in some] for word, some in words.items()})
    if named is not None:
        split_of = share(named.values(), str(folder))
        speakers = {one.key: named[one.path.stem] for one in found}
    else:
        split_of, speakers = {}, {one.key: _content(one.path) for one in found}
        for word, some in words.items():
            split_of = share((speakers[one.key] for one in some), str(folder / word)) | split_of
    return [Placed(one.key, one.word, speakers[one.key], split_of[speakers[one.key]]) for one in found]


def noise_files(folder: Path) -> list[Path]:
    """The recordings of background noise, by name; none where the corpus has none."""
    return _audio(folder / NOISE_FOLDER)


def _files(folder: Path, words: Iterable[str], limit: int | None) -> dict[str, list[Path]]:
    if not folder.is_dir():
        raise JerboaError("no such corpus folder", where=folder, hint="set it with --set corpus.path=FOLDER")
    known = sorted(path.name for path in folder.iterdir() if path.is_dir() and not path.name.startswith(("_", ".")))
    if not known:
        raise JerboaError(
            "this corpus folder is empty", where=folder, allowed="one folder for each word, with .wav or .flac files in it"
        )
    files = {}
    for word in words:
        if word not in known:
            raise JerboaError(f"no folder for the word '{word}'", where=folder, hint=did_you_mean(word, known))
        paths = _audio(folder / word)
        if not paths:
            raise JerboaError("this word's folder holds no recordings", where=folder / word, allowed=".wav or .flac files")
        _once(paths)
        if limit is not None:
            paths = sorted(sorted(paths, key=lambda path: digest(path.stem))[:limit])
        files[word] = paths
    return files


def _audio(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES and not path.name.startswith("."))


def _once(paths: list[Path]) -> None:
    stems: dict[str, Path] = {}
    for path in paths:
        if path.stem in stems:
            raise JerboaError(f"two recordings with one name: {stems[path.stem].name} and {path.name}", where=path.parent)
        stems[path.stem] = path


def _content(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise JerboaError(f"cannot read this recording ({error.strerror})", where=path) from None
