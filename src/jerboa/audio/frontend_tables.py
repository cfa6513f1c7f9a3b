"""Integer tables of the front end, and the constants of its number formats (``docs/frontend.md``)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from jerboa.errors import JerboaError

if TYPE_CHECKING:
    from jerboa.audio.frontend import FrontendSpec

# The largest window value. Below 2^14, so that the sum of two spectra at full scale stays below 2^31.
WINDOW_PEAK = 16000
TWIDDLE_BITS = 14
LOG_BITS = 15
# MFCC: logarithms enter the cosine transform as floor((log2 - 32) * 2^9), which fits 16 bits.
CEPSTRUM_LOG_BITS = 9
_INT32 = 2**31 - 1


@dataclass(frozen=True)
class Tables:
    """Everything that the integer front end knows.

    Attributes:
        window: int16[window], periodic Hann times WINDOW_PEAK.
        order: uint8[fft / 8], where the first stage's butterfly of samples d, d + fft/8, … goes.
        twiddles: uint32[…], per radix-4 stage and position three words, then one per position of a radix-2 stage;
            a word is cos | sin << 16 in Q14.
        split: uint32[fft / 4], words for bins 1 … fft/4 of the step from the complex to the real spectrum.
        first_bin: the first bin with a weight.
        segment_bins: uint8 or uint16[bands + 1], number of bins between neighbouring edges of the mel bands.
        rise: int16[sum(segment_bins)], Q15 rise of the band whose lower edge begins the segment.
        log: uint32[32], log2(1 + i / 32) in Q15 and, times 2^16, the step to the next one.
        floor: smallest band energy; smaller ones count as this.
        cosines: int16[coefficients, bands], empty for log-mel.
        offsets: int32[1] for log-mel, int32[coefficients] for MFCC; added before the last multiplication.
        multiplier, shift: the last step, ``(value * multiplier) >> 32 >> shift``.
    """

    window: np.ndarray
    order: np.ndarray
    twiddles: np.ndarray
    split: np.ndarray
    first_bin: int
    segment_bins: np.ndarray
    rise: np.ndarray
    log: np.ndarray
    floor: int
    cosines: np.ndarray
    offsets: np.ndarray
    multiplier: int
    shift: int

    @property
    def energies_fit(self) -> bool:
        """Whether every band's energy can overwrite bins that were read before it is known."""
        read = self.first_bin + np.cumsum(self.segment_bins, dtype=np.int64)[1:]
        return bool(np.all(read > np.arange(len(read))))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays that become flash constants, by name."""
        names = ("window", "order", "twiddles", "split", "segment_bins", "rise", "log")
        return {name: getattr(self, name) for name in names} | (
            {"cosines": self.cosines, "offsets": self.offsets} if self.cosines.size else {}
        )


def radix4_spans(fft: int) -> list[int]:
    """Distances between the legs of the radix-4 stages after the first one, for a real transform of ``fft`` points."""
    spans, span = [], 4
    while span * 4 <= fft // 2:
        spans.append(span)
        span *= 4
    return spans


def has_radix2(fft: int) -> bool:
    """Whether half of ``fft`` is twice a power of four, so that a radix-2 stage ends the transform."""
    return (fft // 2).bit_length() % 2 == 0


def stored_gain(fft: int) -> float:
    """How many stored units one unit of the PCM's spectrum is."""
    quarters = len(radix4_spans(fft)) + has_radix2(fft)
    return WINDOW_PEAK / 4.0**quarters / 2


def mel(hz: np.ndarray | float) -> np.ndarray:
    """HTK's mel scale: 2595 log10(1 + hz / 700)."""
    return 2595.0 * np.log10(1.0 + np.asarray(hz, dtype=np.float64) / 700.0)


def mel_positions(spec: FrontendSpec) -> tuple[int, np.ndarray]:
    """First bin above the lowest edge, and the positions, in band spacings from it, of the bins below the highest edge.

    Band b is a triangle on the mel scale from b over b + 1 to b + 2, as in HTK and in TensorFlow.
    """
    low, high = mel(spec.low_hz), mel(spec.high_hz)
    bins = np.arange(1, spec.fft // 2)
    places = (mel(bins * spec.sample_rate / spec.fft) - low) / (high - low) * (spec.bands + 1)
    inside = (places > 0) & (places < spec.bands + 1)
    return (int(bins[inside][0]) if inside.any() else 1), places[inside]


def mel_weights(spec: FrontendSpec) -> np.ndarray:
    """Float triangles, float64[fft/2 + 1, bands]."""
    first, places = mel_positions(spec)
    weights = np.zeros((spec.fft // 2 + 1, spec.bands))
    peaks = np.arange(1, spec.bands + 1)
    weights[first : first + len(places)] = np.clip(1.0 - np.abs(places[:, None] - peaks), 0.0, None)
    return weights


def dct(spec: FrontendSpec) -> np.ndarray:
    """Orthonormal DCT-II, float64[coefficients, bands]."""
    k, b = np.arange(spec.coefficients)[:, None], np.arange(spec.bands)
    matrix = math.sqrt(2.0 / spec.bands) * np.cos(np.pi * k * (2 * b + 1) / (2 * spec.bands))
    matrix[0] /= math.sqrt(2.0)
    return matrix


def build(spec: FrontendSpec) -> Tables:
    """All tables of a front end. Raises JerboaError when a mel band holds no bin of the transform."""
    half = spec.fft // 2
    points = np.round(np.log2(1.0 + np.arange(33) / 32) * 2**LOG_BITS).astype(np.int64)
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(spec.window) / spec.window)
    first, segment_bins, rise = _mel_tables(spec)
    cosines, offsets, multiplier, shift = _output(spec)
    return Tables(
        window=np.round(hann * WINDOW_PEAK).astype(np.int16),
        order=_order(half),
        twiddles=_twiddles(half),
        split=_pack(np.arange(1, spec.fft // 4 + 1) / spec.fft),
        first_bin=first,
        segment_bins=segment_bins,
        rise=rise,
        log=(points[:-1] + np.diff(points) * 2**16).astype(np.uint32),
        floor=round(stored_gain(spec.fft) ** 2),
        cosines=cosines,
        offsets=offsets,
        multiplier=multiplier,
        shift=shift,
    )


def _order(points: int) -> np.ndarray:
    """Mixed-radix digit reversal of the first stage's butterflies."""
    radices = ([2] if points.bit_length() % 2 == 0 else []) + [4] * 8
    result = np.zeros(points // 4, dtype=np.uint8)
    for index in range(points // 4):
        rest, size, place = index, points // 4, 0
        for radix in radices:
            if size == 1:
                break
            size //= radix
            place += rest % radix * size
            rest //= radix
        result[index] = place
    return result


def _pack(turns: np.ndarray) -> np.ndarray:
    """cos and sin of fractions of a turn as Q14 halves of a word.

    The C uses the word's upper half alone in one product and the whole word in another, where the lower half adds up to
    one unit; half of that is taken off the sine, so that neither product carries all of the error.
    """
    angle = 2 * np.pi * turns
    low = np.round(np.cos(angle) * 2**TWIDDLE_BITS).astype(np.int64) & 0xFFFF
    high = np.round(np.sin(angle) * 2**TWIDDLE_BITS - low / 2**17).astype(np.int64) & 0xFFFF
    return (high << 16 | low).astype(np.uint32)


def _twiddles(points: int) -> np.ndarray:
    words = []
    for span in radix4_spans(2 * points):
        turns = np.arange(span)[:, None] * np.array([1, 2, 3]) / (4 * span)
        words.append(_pack(turns).ravel())
    if has_radix2(2 * points):
        words.append(_pack(np.arange(points // 2) / points))
    return np.concatenate(words)


def _mel_tables(spec: FrontendSpec) -> tuple[int, np.ndarray, np.ndarray]:
    first, places = mel_positions(spec)
    segments = np.floor(places).astype(np.int64)
    rise = np.clip(np.round((places - segments) * 2**15), 0, 2**15 - 1).astype(np.int16)
    counts = np.bincount(segments, minlength=spec.bands + 1)
    rising = np.bincount(segments, weights=rise, minlength=spec.bands + 1)[: spec.bands]
    falling = np.bincount(segments, weights=2**15 - rise.astype(np.int64), minlength=spec.bands + 1)[1:]
    empty = np.flatnonzero(rising + falling == 0)
    if empty.size:
        band = int(empty[0])
        edges = np.linspace(mel(spec.low_hz), mel(spec.high_hz), spec.bands + 2)[[band, band + 2]]
        low, high = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
        raise JerboaError(
            f"mel band {band + 1} of {spec.bands} ({low:.0f} to {high:.0f} Hz) holds no bin of an FFT of {spec.fft} points "
            f"({spec.sample_rate / spec.fft:.1f} Hz apart)",
            where="frontend.bands",
            hint="take fewer bands, a longer fft or a wider range from low_hz to high_hz",
        )
    return first, counts.astype(np.uint8 if counts.max() < 256 else np.uint16), rise


def _output(spec: FrontendSpec) -> tuple[np.ndarray, np.ndarray, int, int]:
    """The last step: cosines, offsets, multiplier and shift with ``int8 = ((value + offset) * multiplier) >> 32 >> shift``."""
    # ln(band energy) = ln 2 * log2(stored energy) - base
    base = 2 * math.log(stored_gain(spec.fft)) + 30 * math.log(2.0)
    if spec.kind == "logmel":
        step = math.log(2.0) / 2**LOG_BITS / spec.scale
        offsets = np.array([round((spec.zero_point + 0.5 - base / spec.scale) / step)], dtype=np.int64)
        return np.zeros((0, 0), dtype=np.int16), _checked(spec, offsets, 63 << LOG_BITS), *_scaled(step)
    exact = dct(spec)
    for bits in range(12, 3, -1):
        cosines = np.round(exact * 2**bits).astype(np.int64)
        step = math.log(2.0) / 2 ** (bits + CEPSTRUM_LOG_BITS) / spec.scale
        lift = exact.sum(axis=1) * (32 * math.log(2.0) - base) / spec.scale
        offsets = np.round((spec.zero_point + 0.5 + lift) / step).astype(np.int64)
        largest = (32 << CEPSTRUM_LOG_BITS) * int(np.abs(cosines).sum(axis=1).max())
        if largest + int(np.abs(offsets).max()) <= _INT32 and step < 0.5:
            return cosines.astype(np.int16), offsets.astype(np.int32), *_scaled(step)
    raise _bad_scale(spec)


def _scaled(step: float) -> tuple[int, int]:
    """A factor below one half as ``multiplier / 2^(32 + shift)`` with the multiplier in [2^30, 2^31)."""
    mantissa, exponent = math.frexp(step)
    return min(round(mantissa * 2**31), _INT32), -1 - exponent


def _checked(spec: FrontendSpec, offsets: np.ndarray, largest: int) -> np.ndarray:
    if int(np.abs(offsets).max()) + largest > _INT32:
        raise _bad_scale(spec)
    return offsets.astype(np.int32)


def _bad_scale(spec: FrontendSpec) -> JerboaError:
    return JerboaError(f"{spec.scale} cannot be represented", where="frontend.scale", allowed="a scale near what calibrate() gives")
