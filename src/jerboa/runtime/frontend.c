/* SPDX-License-Identifier: Apache-2.0 */
/* Window, real FFT, mel bands, logarithm, int8. Number formats and the proof that nothing overflows: docs/frontend.md.
 * Right shifts of negative values are arithmetic on every supported compiler. */
#define KWS_FRONTEND_WITH_TABLES
#include "kws_frontend.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#define POINTS (KWS_FRONTEND_FFT / 2u)
#define QUARTER (POINTS / 4u)

typedef struct {
    int32_t re, im;
} complex32;

/* 64 bits in words: scratch is aligned to four bytes only. */
typedef struct {
    uint32_t low, high;
} energy;

#if defined(__ARM_FEATURE_DSP) && defined(__GNUC__)
#define DSP 1
#include "kws_frontend_dsp.h"
#else
#define DSP 0
/* A word holds two 16-bit factors; each product is rounded down. */
INLINE int32_t mul_low(int32_t a, uint32_t word)
{
    return (int32_t)(((int64_t)a * (int16_t)(word & 0xffffu)) >> 16);
}

INLINE int32_t add_mul_high(int32_t sum, int32_t a, uint32_t word)
{
    return sum + (int32_t)(((int64_t)a * (int16_t)(word >> 16)) >> 16);
}

INLINE int32_t sub_mul_word(int32_t from, int32_t a, uint32_t word)
{
    return (int32_t)((from * ((int64_t)1 << 32) - (int64_t)a * (int32_t)word) >> 32);
}
#endif

/* a * (cos - j sin) / 4 */
INLINE complex32 turned(complex32 a, uint32_t word)
{
    complex32 r;
    r.re = add_mul_high(mul_low(a.re, word), a.im, word);
    r.im = sub_mul_word(mul_low(a.im, word), a.re, word);
    return r;
}

INLINE void butterfly(complex32 *z, uint32_t span, complex32 a, complex32 b, complex32 c, complex32 d)
{
    const complex32 e = {a.re + c.re, a.im + c.im};
    const complex32 f = {a.re - c.re, a.im - c.im};
    const complex32 g = {b.re + d.re, b.im + d.im};
    const complex32 h = {b.re - d.re, b.im - d.im};
    z[0].re = e.re + g.re;
    z[0].im = e.im + g.im;
    z[span].re = f.re + h.im;
    z[span].im = f.im - h.re;
    z[2u * span].re = e.re - g.re;
    z[2u * span].im = e.im - g.im;
    z[3u * span].re = f.re - h.im;
    z[3u * span].im = f.im + h.re;
}

/* Samples 2i and 2i+1, windowed, as one complex number. */
INLINE complex32 windowed(const int16_t *pcm, uint32_t i)
{
    complex32 r;
    r.re = (int32_t)pcm[2u * i] * kws_frontend_window[2u * i];
    r.im = (int32_t)pcm[2u * i + 1u] * kws_frontend_window[2u * i + 1u];
    return r;
}

/* Butterflies begin … end of the first stage, of whose four inputs the first `legs` lie inside the window. */
INLINE void first_stage(const int16_t *pcm, complex32 *z, uint32_t begin, uint32_t end, uint32_t legs)
{
#if DSP
    if (legs == 3u || legs == 4u) {
        dsp_first_stage(pcm, z, begin, end, legs);
        return;
    }
#endif
    const complex32 zero = {0, 0};
    for (uint32_t i = begin; i < end; i++) {
        const complex32 a = legs > 0u ? windowed(pcm, i) : zero;
        const complex32 b = legs > 1u ? windowed(pcm, i + QUARTER) : zero;
        const complex32 c = legs > 2u ? windowed(pcm, i + 2u * QUARTER) : zero;
        const complex32 d = legs > 3u ? windowed(pcm, i + 3u * QUARTER) : zero;
        butterfly(z + 4u * kws_frontend_order[i], 1u, a, b, c, d);
    }
}

INLINE const uint32_t *radix4_stage(complex32 *z, uint32_t span, const uint32_t *twiddle)
{
#if DSP
    if (span <= 64u) {
        return span == 4u ? dsp_stage_4(z, twiddle) : (span == 16u ? dsp_stage_16(z, twiddle) : dsp_stage_64(z, twiddle));
    }
#endif
    for (uint32_t i = 0; i < span; i++) {
        const uint32_t t1 = twiddle[0];
        const uint32_t t2 = twiddle[1];
        const uint32_t t3 = twiddle[2];
        twiddle += 3;
        for (complex32 *p = z + i; p < z + POINTS; p += 4u * span) {
            const complex32 a = {p[0].re >> 2, p[0].im >> 2};
            const complex32 b = turned(p[span], t1);
            const complex32 c = turned(p[2u * span], t2);
            const complex32 d = turned(p[3u * span], t3);
            butterfly(p, span, a, b, c, d);
        }
    }
    return twiddle;
}

#if KWS_FRONTEND_RADIX2
INLINE void radix2_stage(complex32 *z, const uint32_t *twiddle)
{
    for (complex32 *p = z; p < z + POINTS / 2u; p++) {
        const complex32 a = {p[0].re >> 2, p[0].im >> 2};
        const complex32 b = turned(p[POINTS / 2u], *twiddle++);
        p[0].re = a.re + b.re;
        p[0].im = a.im + b.im;
        p[POINTS / 2u].re = a.re - b.re;
        p[POINTS / 2u].im = a.im - b.im;
    }
}
#endif

/* From the transform of POINTS complex numbers to bins 1 … POINTS-1 of the transform of twice as many real ones. */
INLINE void split(complex32 *z)
{
#if DSP
    dsp_split(z);
#else
    const uint32_t *word = kws_frontend_split;
    complex32 *p = z + 1;
    complex32 *q = z + POINTS - 1u;
    while (p <= q) {
        const complex32 e = {p->re + q->re, p->im - q->im};
        const complex32 o = {p->im + q->im, q->re - p->re};
        const complex32 t = turned(o, *word++);
        p->re = (e.re >> 2) + t.re;
        p->im = (e.im >> 2) + t.im;
        q->re = (e.re >> 2) - t.re;
        q->im = (e.im >> 2) - t.im;
        p++;
        q--;
    }
#endif
}

INLINE uint32_t leading_zeros(uint32_t value)
{
#if defined(__ARM_FEATURE_CLZ) || defined(__x86_64__) || defined(__aarch64__) || defined(__wasm__)
    return (uint32_t)__builtin_clz(value);
#else
    uint32_t zeros = 0;
    for (uint32_t bits = 16; bits != 0; bits >>= 1) {
        if (value >> (32u - bits) == 0) {
            zeros += bits;
            value <<= bits;
        }
    }
    return zeros;
#endif
}

/* log2 of an energy in Q15, linear between 32 points an octave. */
INLINE int32_t log2_q15(energy e)
{
    const uint32_t high = (int32_t)e.high < 0 ? 0u : e.high;
    const uint32_t low = (int32_t)e.high < 0 || (e.high == 0 && e.low < KWS_FRONTEND_FLOOR) ? KWS_FRONTEND_FLOOR : e.low;
    uint32_t exponent;
    uint32_t mantissa;
    if (high != 0) {
        const uint32_t zeros = leading_zeros(high);
        exponent = 63u - zeros;
        mantissa = high << zeros | low >> (32u - zeros);
    } else {
        const uint32_t zeros = leading_zeros(low);
        exponent = 31u - zeros;
        mantissa = low << zeros;
    }
    const uint32_t point = kws_frontend_log[mantissa >> 26 & 31u];
    return add_mul_high((int32_t)((exponent << 15) + (point & 0xffffu)), (int32_t)(mantissa >> 10 & 0xffffu), point);
}

INLINE int8_t quantized(int32_t value)
{
    const int32_t q = (int32_t)(((int64_t)value * KWS_FRONTEND_MULTIPLIER) >> 32) >> KWS_FRONTEND_SHIFT;
    return (int8_t)(q < -128 ? -128 : (q > 127 ? 127 : q));
}

/* Energies of the triangular bands: what rises in one segment is what the band before it loses. They overwrite bins that
 * were read before, or lie behind all bins. */
INLINE void band_energies(const complex32 *bin, energy *energies)
{
    const int16_t *rise = kws_frontend_rise;
    int64_t before = 0;
    for (uint32_t segment = 0; segment <= KWS_FRONTEND_BANDS; segment++) {
        const uint32_t bins = kws_frontend_segment_bins[segment];
        int64_t all = 0;
        int64_t risen = 0;
#if DSP
        bin = dsp_segment(bin, rise, bins, &all, &risen);
        rise += bins;
#else
        for (uint32_t left = bins; left != 0; left--) {
            const int32_t re = bin->re;
            const int32_t im = bin->im;
            const uint32_t weight = (uint32_t)*rise++;
            bin++;
            all += (int64_t)re * re;
            all += (int64_t)im * im;
            risen += (int64_t)re * mul_low(re, weight);
            risen += (int64_t)im * mul_low(im, weight);
        }
#endif
        if (segment != 0) {
            const uint64_t sum = (uint64_t)(before + all - 2 * risen);
            energies->low = (uint32_t)(sum & 0xffffffffu);
            energies->high = (uint32_t)(sum >> 32);
            energies++;
        }
        before = 2 * risen;
    }
}

#if KWS_FRONTEND_MFCC
INLINE void cepstrum(const int32_t *logs, int8_t *features)
{
    const int16_t *cosine = kws_frontend_cosines;
    for (uint32_t k = 0; k < KWS_FEATURES; k++) {
        int32_t sum = kws_frontend_offsets[k];
        for (uint32_t b = 0; b < KWS_FRONTEND_BANDS; b++) {
            sum += (int32_t)(int16_t)logs[b] * *cosine++;
        }
        features[k] = quantized(sum);
    }
}
#endif

void kws_frontend_frame(const int16_t *window, int8_t *features, uint32_t *scratch)
{
    complex32 *z = (complex32 *)(void *)scratch;
    const uint32_t *twiddle = kws_frontend_twiddles;
    first_stage(window, z, 0, KWS_WINDOW / 2u % QUARTER, KWS_WINDOW / 2u / QUARTER + 1u);
    first_stage(window, z, KWS_WINDOW / 2u % QUARTER, QUARTER, KWS_WINDOW / 2u / QUARTER);
    for (uint32_t span = 4; 4u * span <= POINTS; span *= 4u) {
        twiddle = radix4_stage(z, span, twiddle);
    }
#if KWS_FRONTEND_RADIX2
    radix2_stage(z, twiddle);
#else
    (void)twiddle;
#endif
    split(z);
    energy *energies = (energy *)(void *)(z + KWS_FRONTEND_ENERGIES);
    band_energies(z + KWS_FRONTEND_FIRST_BIN, energies);
#if KWS_FRONTEND_MFCC
    int32_t *logs = (int32_t *)(void *)energies;
    for (uint32_t b = 0; b < KWS_FRONTEND_BANDS; b++) {
        logs[b] = (log2_q15(energies[b]) >> KWS_FRONTEND_LOG_SHIFT) - (32 << (15 - KWS_FRONTEND_LOG_SHIFT));
    }
    cepstrum(logs, features);
#else
    for (uint32_t b = 0; b < KWS_FRONTEND_BANDS; b++) {
        features[b] = quantized(log2_q15(energies[b]) + KWS_FRONTEND_OFFSET);
    }
#endif
}
