"""Pictures of a clip: its waveform as SVG and its features as a PNG that is part of the page."""

from __future__ import annotations

import struct
import zlib
from base64 import b64encode
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

# "inferno" by N. Smith and S. van der Walt (CC0): sixteen of its 256 colours, evenly spaced.
_INFERNO = "000004 0c0826 240c4f 420a68 5d126e 781c6d 932667 ae305c c73e4c dd513a ed6925 f8850f fca50a fac62d f2e661 fcffa4"


def heat_png(features: Sequence[Sequence[int]], low: int, high: int) -> str:
    """A ``data:`` URI of frames × bands int8: time to the right, the highest band on top, ``low`` dark and ``high`` bright."""
    picture = np.asarray(features, np.float64).T[::-1]
    span = max(1, high - low)
    indices = np.clip((picture - low) * (255 / span) + 0.5, 0, 255).astype(np.uint8)
    return "data:image/png;base64," + b64encode(_png(indices)).decode("ascii")


def waveform(pairs: Sequence[tuple[float, float]], label: str) -> Markup:
    """The envelope of a clip as one filled shape that stretches to its box; scaled so that the loudest sample fills it."""
    if not pairs:
        return Markup('<p class="missing">no waveform</p>')
    peak = max(max(-low, high) for low, high in pairs) or 1.0
    top = [f"{i},{50 - 48 * high / peak:.1f}" for i, (_, high) in enumerate(pairs)]
    bottom = [f"{i},{50.6 - 48 * low / peak:.1f}" for i, (low, _) in reversed(list(enumerate(pairs)))]
    return Markup(
        '<svg class="wave" viewBox="0 0 {} 100" preserveAspectRatio="none" role="img" aria-label="{}"><polygon points="{}"/></svg>'
    ).format(max(1, len(pairs) - 1), label, " ".join(top + bottom))


def _png(indices: NDArray[np.uint8]) -> bytes:
    """An 8-bit palette image (PNG, second edition, W3C 2003)."""
    height, width = indices.shape
    rows = b"".join(b"\0" + row.tobytes() for row in indices)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)),
            _chunk(b"PLTE", _palette().tobytes()),
            _chunk(b"IDAT", zlib.compress(rows, 9)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _palette() -> NDArray[np.uint8]:
    anchors = np.array([list(bytes.fromhex(colour)) for colour in _INFERNO.split()], np.float64)
    at = np.linspace(0, len(anchors) - 1, 256)
    channels = [np.interp(at, np.arange(len(anchors)), anchors[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=1)).astype(np.uint8)
