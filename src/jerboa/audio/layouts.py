"""Folders of recordings: which files are there, of which word, speaker and split."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from jerboa.audio.clips import SUFFIXES
from jerboa.audio.splits import digest, share, speaker_of, speakers_of
from jerboa.errors import JerboaError, did_you_mean

NOISE_FOLDER = "_background_noise_"
_LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}


@dataclass(frozen=True)
class Recording:
    """A file with what its place and name say.

    Attributes:
        key: ``<word>/<file name without suffix>``.
        speaker: who spoke, or the content's hash where nothing tells.
    """

    key: str
    word: str
    speaker: str
    split: str
    path: Path


def speech_commands(folder: Path, words: Iterable[str], limit: int | None) -> list[Recording]:
    """Recordings of the words in the layout of Speech Commands: its two lists say what validates and what tests.

    Raises:
        JerboaError: no such folder or word, a word without recordings, a missing list.
    """
    files = _files(folder, words, limit)
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
        listed |= {str(Path(line).with_suffix("")): split for line in lines}
    found = []
    for word, paths in files.items():
        for path in paths:
            key = f"{word}/{path.stem}"
            found.append(Recording(key, word, speaker_of(path.stem) or path.stem, listed.get(key, "train"), path))
    return found


def plain_folder(folder: Path, words: Iterable[str], limit: int | None) -> list[Recording]:
    """Recordings of ``<word>/*.wav`` or ``.flac``, about 80/10/10, by speaker where names tell speakers, else by content.

    Two files with equal content always share a split.

    Raises:
        JerboaError: no such folder or word, a word without recordings, too few different ones for three splits.
    """
    files = _files(folder, words, limit)
    speakers = speakers_of({word: [path.stem for path in paths] for word, paths in files.items()})
    if speakers is not None:
        split_of = share(speakers.values(), str(folder))
        return [
            Recording(f"{word}/{path.stem}", word, speakers[path.stem], split_of[speakers[path.stem]], path)
            for word, paths in files.items()
            for path in paths
        ]
    found, split_of = [], {}
    for word, paths in files.items():
        contents = {path: _content(path) for path in paths}
        split_of = share(contents.values(), str(folder / word)) | split_of
        found += [Recording(f"{word}/{path.stem}", word, held, split_of[held], path) for path, held in contents.items()]
    return found


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
