"""Features of many clips, computed by the C that ships: compiled for this machine, on all cores, cached on disk."""

from __future__ import annotations

import hashlib
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import Progress

from jerboa.audio.frontend import FrontendSpec, c_sources
from jerboa.errors import JerboaError
from jerboa.files import replacing
from jerboa.targets.compiler import compiler_version
from jerboa.targets.hostlib import HostLibrary
from jerboa.targets.toolchain import host_library

_BATCH = 64
_QUIET_BELOW = 20_000

_CLIPS_C = """\
#include "kws_frontend.h"

void kws_clips(const int16_t *pcm, int32_t clips, int32_t samples, int8_t *features, uint32_t *scratch);

void kws_clips(const int16_t *pcm, int32_t clips, int32_t samples, int8_t *features, uint32_t *scratch)
{
    for (int32_t clip = 0; clip < clips; clip++) {
        for (int32_t from = 0; from + KWS_WINDOW <= samples; from += KWS_HOP) {
            kws_frontend_frame(pcm + from, features, scratch);
            features += KWS_FEATURES;
        }
        pcm += samples;
    }
}
"""


def compute_features(spec: FrontendSpec, pcm: np.ndarray, cache: Path | None = None, key: str | None = None) -> np.ndarray:
    """Features of clips: int8[count, frames, features] of int16[count, samples].

    Args:
        cache: folder in which the result is kept and looked for; None computes anew.
        key: names the clips' content; without it, their bytes are hashed.

    Raises:
        JerboaError: clips shorter than a window, no compiler, or a cache that cannot be written.
    """
    pcm = np.ascontiguousarray(pcm)
    if pcm.dtype != np.int16 or pcm.ndim != 2:
        raise ValueError(f"pcm must be int16[count, samples], not {pcm.dtype}{list(pcm.shape)}")
    count, samples = pcm.shape
    if samples < spec.window:
        raise JerboaError(f"clips of {samples} samples are shorter than the window of {spec.window}", where="frontend.window")
    shape = (count, (samples - spec.window) // spec.hop + 1, spec.features)
    place = cache / f"features-{_digest(spec, pcm, key)}.npy" if cache else None
    if place is not None:
        found = _read(place, shape)
        if found is not None:
            return found
    features = _compute(spec, pcm, shape)
    if place is not None:
        _write(place, features)
    return features


def _compute(spec: FrontendSpec, pcm: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    library = _library(spec)
    features = np.empty(shape, dtype=np.int8)
    starts = range(0, len(pcm), _BATCH)

    def batch(start: int) -> None:
        some = pcm[start : start + _BATCH]
        scratch = np.empty(spec.scratch_bytes // 4, dtype=np.uint32)
        library.call("kws_clips", some, len(some), pcm.shape[1], features[start : start + _BATCH], scratch)

    console = Console(stderr=True)
    with (
        Progress(console=console, disable=len(pcm) < _QUIET_BELOW, transient=True) as progress,
        ThreadPoolExecutor(max_workers=os.cpu_count()) as pool,
    ):
        task = progress.add_task("features", total=len(starts))
        for _ in pool.map(batch, starts):
            progress.advance(task)
    return features


@lru_cache(maxsize=8)
def _library(spec: FrontendSpec) -> HostLibrary:
    """The front end, compiled for this machine. A loaded library outlives its file."""
    with tempfile.TemporaryDirectory(prefix="jerboa-frontend-", ignore_cleanup_errors=True) as folder:
        return HostLibrary(host_library({**c_sources(spec), "kws_clips.c": _CLIPS_C}, Path(folder) / "frontend.so"))


def _digest(spec: FrontendSpec, pcm: np.ndarray, key: str | None) -> str:
    """Changes with any byte of the C, of its tables and of the clips."""
    content = hashlib.sha256("\0".join(c_sources(spec).values()).encode())
    content.update(f"{compiler_version('zig')} {pcm.shape} {key}".encode())
    if key is None:
        content.update(pcm.data)
    return content.hexdigest()[:24]


def _read(place: Path, shape: tuple[int, int, int]) -> np.ndarray | None:
    """The cached features, or None where there are none or the file is damaged."""
    try:
        found = np.load(place, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if found.dtype == np.int8 and found.shape == shape else None


def _write(place: Path, features: np.ndarray) -> None:
    with replacing(place) as temporary, temporary.open("wb") as file:
        np.save(file, features)
