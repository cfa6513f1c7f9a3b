"""The front end: from PCM to int8 log-mel or MFCC features, in integers, and its float64 counterpart.

:func:`reference` is the definition. ``runtime/frontend.c`` is the same arithmetic in C; both give equal bytes everywhere.
``docs/frontend.md`` states each step's number format and why nothing overflows.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np

from jerboa.audio import frontend_source, frontend_tables
from jerboa.audio.frontend_tables import CEPSTRUM_LOG_BITS, LOG_BITS, Tables, radix4_spans
from jerboa.errors import JerboaError, did_you_mean

__all__ = ["FrontendSpec", "Tables", "c_sources", "calibrate", "float_features", "reference", "tables"]

FFT_SIZES = (128, 256, 512, 1024, 2048)
# Power of one squared PCM step, with full scale 1: less counts as this.
POWER_FLOOR = 2.0**-30


@dataclass(frozen=True)
class FrontendSpec:
    """What a front end computes. ``feature = scale * (q - zero_point)`` in natural-log units, full-scale PCM being 1.

    Args:
        kind: ``logmel`` or ``mfcc``.
        sample_rate: Hz.
        window, hop: samples; the window is a periodic Hann, padded with zeros to the transform.
        fft: points of the transform, a power of two from 128 to 2048.
        bands: triangular bands, evenly spaced on HTK's mel scale between ``low_hz`` and ``high_hz``.
        coefficients: of the orthonormal DCT-II, MFCC only.
        clip_samples: length of the clip that gives ``frames`` frames.
        scale, zero_point: int8 quantisation of the features; :func:`calibrate` sets them.

    Raises:
        JerboaError: a value out of its range.
    """

    kind: str = "logmel"
    sample_rate: int = 16000
    window: int = 480
    hop: int = 320
    fft: int = 512
    bands: int = 40
    low_hz: float = 20.0
    high_hz: float = 7600.0
    coefficients: int = 10
    clip_samples: int = 16000
    scale: float = 0.12
    zero_point: int = 45

    def __post_init__(self) -> None:
        nyquist = self.sample_rate / 2
        _check("kind", self.kind, self.kind in ("logmel", "mfcc"), "'logmel' or 'mfcc'")
        _check("sample_rate", self.sample_rate, 1000 <= self.sample_rate <= 192000, "1000 to 192000")
        _check("fft", self.fft, self.fft in FFT_SIZES, ", ".join(map(str, FFT_SIZES)))
        even = self.window % 2 == 0 and 16 <= self.window <= self.fft
        _check("window", self.window, even, f"an even number from 16 to fft ({self.fft})")
        _check("hop", self.hop, 1 <= self.hop <= self.window, f"1 to window ({self.window})")
        _check("bands", self.bands, 1 <= self.bands <= 128, "1 to 128")
        _check("low_hz", self.low_hz, 0 <= self.low_hz < self.high_hz, f"0 to high_hz ({self.high_hz:g})")
        _check("high_hz", self.high_hz, self.high_hz <= nyquist, f"up to half the sample rate ({nyquist:g})")
        some = self.kind != "mfcc" or 1 <= self.coefficients <= self.bands
        _check("coefficients", self.coefficients, some, f"1 to bands ({self.bands})")
        _check("clip_samples", self.clip_samples, self.clip_samples >= self.window, f"window ({self.window}) or more")
        _check("scale", self.scale, 1e-3 <= self.scale <= 50, "0.001 to 50")
        _check("zero_point", self.zero_point, -128 <= self.zero_point <= 127, "-128 to 127")

    @property
    def frames(self) -> int:
        """Frames of one clip."""
        return (self.clip_samples - self.window) // self.hop + 1

    @property
    def features(self) -> int:
        """Features of one frame."""
        return self.bands if self.kind == "logmel" else self.coefficients

    @property
    def scratch_bytes(self) -> int:
        """RAM that one frame needs while it is computed."""
        return 4 * self.fft + (0 if tables(self).energies_fit else 8 * self.bands)

    @property
    def table_bytes(self) -> int:
        """Flash of the constant tables."""
        return sum(values.nbytes for values in tables(self).arrays.values())

    def to_json(self) -> dict[str, Any]:
        """Plain values for a JSON file."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> FrontendSpec:
        """The inverse of :meth:`to_json`; missing keys have their defaults.

        Raises:
            JerboaError: an unknown key, a wrong type or a value out of range.
        """
        known: dict[str, Any] = {field.name: type(field.default) for field in dataclasses.fields(cls)}
        checked: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise JerboaError(f"unknown key '{name}'", where="frontend", hint=did_you_mean(str(name), known))
            kind = known[name]
            if kind is float and isinstance(value, int) and not isinstance(value, bool):
                value = float(value)
            if type(value) is not kind or (kind is float and not math.isfinite(value)):
                raise JerboaError(f"{value!r} is no {kind.__name__}", where=f"frontend.{name}")
            checked[name] = value
        return cls(**checked)

    def c_sources(self) -> dict[str, str]:
        """As :func:`c_sources`, under the prefix ``kws_``."""
        return c_sources(self)


def _check(name: str, value: object, good: bool, allowed: str) -> None:
    if not good:
        raise JerboaError(f"{name} is {value!r}", where=f"frontend.{name}", allowed=allowed)


@lru_cache(maxsize=64)
def tables(spec: FrontendSpec) -> Tables:
    """The integer tables. Raises JerboaError when a mel band holds no bin of the transform."""
    return frontend_tables.build(spec)


def c_sources(spec: FrontendSpec, prefix: str = "kws_") -> dict[str, str]:
    """``{file name: C text}``: the generated table header, the front end's header and its C file, under a prefix."""
    return frontend_source.c_sources(spec, tables(spec), prefix)


def calibrate(spec: FrontendSpec, clips: np.ndarray, clip_limit: int = 1000) -> FrontendSpec:
    """The same front end with scale and zero point that cover 99.9 % of a corpus' features.

    Args:
        clips: int16[count, clip_samples]; of more than ``clip_limit``, evenly spaced ones are taken.

    The range runs from the 0.05th to the 99.95th percentile of the float features, and holds zero: an int8 zero point can
    say no other.
    """
    clips = np.asarray(clips)
    if clips.ndim != 2 or clips.shape[0] == 0:
        raise JerboaError("there are no clips to calibrate the front end on", where="calibrate")
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(len(clips), clip_limit)).round().astype(int))
    values = np.concatenate([float_features(spec, clips[i]).ravel().astype(np.float32) for i in chosen])
    low, high = (float(value) for value in np.percentile(values, [0.05, 99.95]))
    low, high = min(low, 0.0), max(high, 0.0)
    scale = float(f"{min(max((high - low) / 255, 1e-3), 50.0):.6g}")
    zero_point = min(max(round(-128 - low / scale), -128), 127)
    return dataclasses.replace(spec, scale=scale, zero_point=zero_point)


def float_features(spec: FrontendSpec, pcm: np.ndarray) -> np.ndarray:
    """The textbook's features in float64, float64[frames, features], in natural-log units.

    Periodic Hann window, power spectrum, triangles on HTK's mel scale, natural logarithm of at least ``POWER_FLOOR``;
    for MFCC the orthonormal DCT-II of that. PCM is int16[samples], full scale 1.
    """
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    power = np.abs(np.fft.rfft(_frames(spec, pcm) / 32768.0 * hann, spec.fft)) ** 2
    logs = np.log(np.maximum(power @ frontend_tables.mel_weights(spec), POWER_FLOOR))
    return logs if spec.kind == "logmel" else logs @ frontend_tables.dct(spec).T


def reference(spec: FrontendSpec, pcm: np.ndarray) -> np.ndarray:
    """The definition: int8[frames, features] of int16[samples], in integers only."""
    t = tables(spec)
    logs = _logarithm(_band_energies(spec, t, _spectrum(spec, t, _frames(spec, pcm))), t)
    if spec.kind == "logmel":
        values = logs + int(t.offsets[0])
    else:
        low = (logs >> (LOG_BITS - CEPSTRUM_LOG_BITS)) - (32 << CEPSTRUM_LOG_BITS)
        values = low @ t.cosines.astype(np.int64).T + t.offsets
    return np.ascontiguousarray(np.clip((values * t.multiplier) >> 32 >> t.shift, -128, 127), dtype=np.int8)


def _frames(spec: FrontendSpec, pcm: np.ndarray) -> np.ndarray:
    if pcm.dtype != np.int16 or pcm.ndim != 1 or len(pcm) < spec.window:
        raise ValueError(f"pcm must be int16[{spec.window} or more], not {pcm.dtype}{list(pcm.shape)}")
    return np.lib.stride_tricks.sliding_window_view(pcm, spec.window)[:: spec.hop]


def _low(words: np.ndarray) -> np.ndarray:
    return words.astype(np.uint16).astype(np.int16).astype(np.int64)


def _turned(re: np.ndarray, im: np.ndarray, words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(re + j im)(cos - j sin) / 4, each product rounded down."""
    cos, sin, whole = _low(words), _low(words >> 16), words.astype(np.int32).astype(np.int64)
    turned_re = (re * cos >> 16) + (im * sin >> 16)
    turned_im = (((im * cos >> 16) << 32) - re * whole) >> 32
    return turned_re, turned_im


def _spectrum(spec: FrontendSpec, t: Tables, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bins of the real transform as int64[frames, fft/2] pairs; bin 0 is not used and holds no meaning."""
    points = spec.fft // 2
    padded = np.zeros((len(frames), spec.fft), dtype=np.int64)
    padded[:, : spec.window] = frames.astype(np.int64) * t.window
    legs = np.arange(points // 4)[:, None] + np.arange(4) * (points // 4)
    place = 4 * t.order.astype(np.int64)[:, None] + np.arange(4)
    z_re, z_im = (np.zeros((len(frames), points), dtype=np.int64) for _ in range(2))
    first = _butterfly(*[(padded[:, 2 * legs[:, j]], padded[:, 2 * legs[:, j] + 1]) for j in range(4)])
    for j, (re, im) in enumerate(first):
        z_re[:, place[:, j]], z_im[:, place[:, j]] = re, im
    used = 0
    for span in radix4_spans(spec.fft):
        words = t.twiddles[used : used + 3 * span].reshape(span, 3)
        used += 3 * span
        re, im = (z.reshape(len(frames), -1, 4, span) for z in (z_re, z_im))
        parts = [(re[:, :, 0] >> 2, im[:, :, 0] >> 2)]
        parts += [_turned(re[:, :, j], im[:, :, j], words[:, j - 1]) for j in (1, 2, 3)]
        done = _butterfly(*parts)
        z_re = np.stack([part[0] for part in done], axis=2).reshape(len(frames), points)
        z_im = np.stack([part[1] for part in done], axis=2).reshape(len(frames), points)
    if frontend_tables.has_radix2(spec.fft):
        half = points // 2
        b_re, b_im = _turned(z_re[:, half:], z_im[:, half:], t.twiddles[used:])
        a_re, a_im = z_re[:, :half] >> 2, z_im[:, :half] >> 2
        z_re = np.concatenate([a_re + b_re, a_re - b_re], axis=1)
        z_im = np.concatenate([a_im + b_im, a_im - b_im], axis=1)
    k = np.arange(1, points // 2 + 1)
    e_re, e_im = z_re[:, k] + z_re[:, points - k], z_im[:, k] - z_im[:, points - k]
    o_re, o_im = z_im[:, k] + z_im[:, points - k], z_re[:, points - k] - z_re[:, k]
    o_re, o_im = _turned(o_re, o_im, t.split)
    z_re[:, k], z_im[:, k] = (e_re >> 2) + o_re, (e_im >> 2) + o_im
    z_re[:, points - k], z_im[:, points - k] = (e_re >> 2) - o_re, (e_im >> 2) - o_im
    return z_re, z_im


def _butterfly(*legs: tuple[np.ndarray, np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
    """The transform of four complex numbers."""
    (a_re, a_im), (b_re, b_im), (c_re, c_im), (d_re, d_im) = legs
    e_re, e_im, f_re, f_im = a_re + c_re, a_im + c_im, a_re - c_re, a_im - c_im
    g_re, g_im, h_re, h_im = b_re + d_re, b_im + d_im, b_re - d_re, b_im - d_im
    return [(e_re + g_re, e_im + g_im), (f_re + h_im, f_im - h_re), (e_re - g_re, e_im - g_im), (f_re - h_im, f_im + h_re)]


def _band_energies(spec: FrontendSpec, t: Tables, spectrum: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """int64[frames, bands]: triangles built from each segment's energy and the part of it that rises."""
    bins = slice(t.first_bin, t.first_bin + len(t.rise))
    re, im = spectrum[0][:, bins], spectrum[1][:, bins]
    weight = t.rise.astype(np.int64)
    energy = re * re + im * im
    rising = re * (re * weight >> 16) + im * (im * weight >> 16)
    ends = np.cumsum(t.segment_bins, dtype=np.int64)
    sums = [np.concatenate([np.zeros((len(re), 1), np.int64), np.cumsum(part, axis=1)], axis=1) for part in (energy, rising)]
    all_, risen = (total[:, ends] - total[:, ends - t.segment_bins] for total in sums)
    return 2 * risen[:, :-1] + all_[:, 1:] - 2 * risen[:, 1:]


def _logarithm(energies: np.ndarray, t: Tables) -> np.ndarray:
    """log2 in Q15 of at least the floor, linear between 32 points an octave."""
    held = np.maximum(energies, t.floor)
    exponent = np.zeros_like(held)
    for bits in (32, 16, 8, 4, 2, 1):
        exponent += np.where(held >> (exponent + bits) > 0, bits, 0)
    mantissa = np.where(exponent >= 31, held >> np.maximum(exponent - 31, 0), held << np.maximum(31 - exponent, 0))
    index, rest = mantissa >> 26 & 31, mantissa >> 10 & 0xFFFF
    point, step = (t.log & 0xFFFF).astype(np.int64), (t.log >> 16).astype(np.int64)
    return (exponent << LOG_BITS) + point[index] + (step[index] * rest >> 16)
