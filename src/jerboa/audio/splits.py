"""Which clip trains, which validates and which tests."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from jerboa.errors import JerboaError

SPLITS = ("train", "validation", "test")
HELD_OUT = 0.1
_PREFIX = re.compile(r"(speaker[_-]?[^_-]+|[^_-]+)[_-]")


def digest(text: str) -> str:
    """A stable hash of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def share(names: Iterable[str], where: str) -> dict[str, str]:
    """Split of each name: a tenth for validation, a tenth for the test, in the order of the names' hashes.

    Raises:
        JerboaError: fewer than three distinct names, so that a split would be empty.
    """
    ordered = sorted(set(names), key=digest)
    if len(ordered) < len(SPLITS):
        raise JerboaError(
            f"too few clips: {len(ordered)} different, and training, validation and test need one each",
            where=where,
            hint="about 30 or more recordings of each word make a useful spotter",
        )
    held_out = max(1, round(HELD_OUT * len(ordered)))
    return {
        name: "validation" if rank < held_out else "test" if rank < 2 * held_out else "train" for rank, name in enumerate(ordered)
    }


def speaker_of(stem: str) -> str | None:
    """The speaker in a name of the Speech Commands layout: what stands before ``_nohash_``."""
    speaker, separator, _ = stem.partition("_nohash_")
    return speaker if separator and speaker else None


def speakers_of(names: dict[str, list[str]]) -> dict[str, str] | None:
    """Speaker of each file name (without suffix), or None where names do not tell speakers.

    They tell them when every name has a speaker before ``_nohash_``, or when every name starts with ``<speaker>_`` or
    ``<speaker>-``, and when three or more such speakers have each spoken at least two words (so that ``left_1``, ``right_1``
    is not read as the speakers "left" and "right").

    Args:
        names: file names by word.
    """
    for read in (speaker_of, _prefix_of):
        speakers = {name: read(name) for listed in names.values() for name in listed}
        if all(speakers.values()):
            words: dict[str, set[str]] = {}
            for word, listed in names.items():
                for name in listed:
                    words.setdefault(speakers[name] or "", set()).add(word)
            if sum(len(spoken) >= 2 for spoken in words.values()) >= 3:
                return {name: speaker or "" for name, speaker in speakers.items()}
    return None


def _prefix_of(stem: str) -> str | None:
    match = _PREFIX.match(stem)
    return match[1] if match else None
