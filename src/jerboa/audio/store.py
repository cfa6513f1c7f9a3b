"""Recordings kept decoded on disk: one array that is mapped, not read, beside a small description."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jerboa.files import replacing, write_text

Made = tuple[NDArray[np.int16], dict[str, Any]]


def keep(cache: Path | None, name: str, make: Callable[[], Made]) -> Made:
    """What ``make`` gives: an int16 array and a description that JSON can hold, from the cache if both are there in one piece.

    The description comes back with the key ``sha256``, of the array.

    Raises:
        JerboaError: the cache cannot be written.
    """
    if cache is None:
        return _described(*make())
    place, about = cache / f"{name}.npy", cache / f"{name}.json"
    try:
        description = json.loads(about.read_text(encoding="utf-8"))
        pcm = np.load(place, mmap_mode="r", allow_pickle=False)
        if list(pcm.shape) == description["shape"] and pcm.dtype == np.int16:
            return pcm, description
    except (OSError, ValueError, EOFError, KeyError, TypeError):
        pass
    pcm, description = _described(*make())
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.save(file, pcm)
    write_text(about, json.dumps(description))
    return np.load(place, mmap_mode="r", allow_pickle=False), description


def _described(pcm: NDArray[np.int16], description: dict[str, Any]) -> Made:
    digest = hashlib.sha256(np.ascontiguousarray(pcm).data).hexdigest()
    return pcm, {**description, "shape": list(pcm.shape), "sha256": digest}
