/* SPDX-License-Identifier: Apache-2.0 */
/* Helpers of the layers that use the Armv7E-M DSP instructions. Lanes are the two signed halves of a word, low half first. */
#ifndef KWS_NETWORK_DSP_H
#define KWS_NETWORK_DSP_H

#include "kws_network.h"
#include <arm_acle.h>

KWS_INLINE uint32_t kws_load(const void *p)
{
    uint32_t word;
    __builtin_memcpy(&word, p, sizeof word);
    return word;
}

KWS_INLINE void kws_store(void *p, uint32_t word)
{
    __builtin_memcpy(p, &word, sizeof word);
}

KWS_INLINE void kws_store16(void *p, int32_t value)
{
    const int16_t half = (int16_t)value;
    __builtin_memcpy(p, &half, sizeof half);
}

/* Lanes of bytes 0 and 2 added to the lanes of base. */
KWS_INLINE uint32_t kws_sxtab16(uint32_t base, uint32_t word)
{
    return (uint32_t)__sxtab16((int16x2_t)base, (int8x4_t)word);
}

/* Lanes of bytes 1 and 3 added to the lanes of base. */
KWS_INLINE uint32_t kws_sxtab16_ror8(uint32_t base, uint32_t word)
{
    return (uint32_t)__sxtab16((int16x2_t)base, (int8x4_t)((word >> 8) | (word << 24)));
}

KWS_INLINE uint32_t kws_sxtb16(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)word);
}

KWS_INLINE uint32_t kws_sxtb16_ror8(uint32_t word)
{
    return (uint32_t)__sxtb16((int8x4_t)((word >> 8) | (word << 24)));
}

KWS_INLINE int32_t kws_smlad(uint32_t a, uint32_t b, int32_t acc)
{
    return __smlad((int16x2_t)a, (int16x2_t)b, acc);
}

/* PKHBT and PKHTB: low halves of a and b, high halves of a and b. */
KWS_INLINE uint32_t kws_low_halves(uint32_t a, uint32_t b)
{
    return (a & 0xFFFFu) | (b << 16);
}

KWS_INLINE uint32_t kws_high_halves(uint32_t a, uint32_t b)
{
    return (a >> 16) | (b & 0xFFFF0000u);
}

/* kws_requantize for shift >= 33: the rounding constant is added in the high word (SMMLA), so nothing is rounded twice. */
KWS_INLINE int32_t kws_requantize_high(int32_t acc, int32_t multiplier, int32_t shift)
{
    const int32_t high = (int32_t)(((int64_t)acc * multiplier) >> 32);
    return (high + ((int32_t)1 << (shift - 33))) >> (shift - 32);
}

/* kws_clamp to the whole int8 range. GCC's __ssat is a macro around a builtin of unsigned type. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wsign-conversion"
KWS_INLINE int8_t kws_saturate(int32_t value, int32_t zero_point)
{
    return (int8_t)__ssat(value + zero_point, 8);
}
#pragma GCC diagnostic pop

/* target[i] = source[i] - zero for i < count. */
KWS_INLINE void kws_widen(int16_t *target, const int8_t *source, int32_t count, int32_t zero)
{
    const uint32_t minus = (uint32_t)(-zero & 0xFFFF) * 0x10001u;
    const int32_t whole = count & ~3;
    int32_t i = 0;
#pragma GCC unroll 1
    for (; i < whole; i += 4) {
        const uint32_t word = kws_load(source + i);
        const uint32_t even = kws_sxtab16(minus, word);
        const uint32_t odd = kws_sxtab16_ror8(minus, word);
        kws_store(target + i, kws_low_halves(even, odd));
        kws_store(target + i + 2, kws_high_halves(even, odd));
    }
    for (; i < count; i++) {
        kws_store16(target + i, source[i] - zero);
    }
}

KWS_INLINE void kws_zero(int16_t *target, int32_t count)
{
    for (int32_t i = 0; i < count; i++) {
        kws_store16(target + i, 0);
    }
}

/* Accumulate 4 * words taps of one or two pixels (patches one after the other) and one or two channels (weight words alternate):
   acc[pixel * channels + channel]. */
KWS_INLINE void kws_dot(const int16_t *patch, const int8_t *w, int32_t words, int32_t pixels, int32_t channels, int32_t *acc)
{
    const int16_t *second = patch + 4 * words;
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    for (int32_t i = 0; i < words; i++) {
        const uint32_t p0 = kws_load(patch), p1 = kws_load(patch + 2);
        const uint32_t q0 = pixels > 1 ? kws_load(second) : 0u, q1 = pixels > 1 ? kws_load(second + 2) : 0u;
        const uint32_t v = kws_load(w);
        const uint32_t v0 = kws_sxtb16(v), v1 = kws_sxtb16_ror8(v);
        a0 = kws_smlad(p1, v1, kws_smlad(p0, v0, a0));
        if (pixels > 1 && channels > 1) {
            a2 = kws_smlad(q1, v1, kws_smlad(q0, v0, a2));
        } else if (pixels > 1) {
            a1 = kws_smlad(q1, v1, kws_smlad(q0, v0, a1));
        }
        if (channels > 1) {
            const uint32_t u = kws_load(w + 4);
            const uint32_t u0 = kws_sxtb16(u), u1 = kws_sxtb16_ror8(u);
            a1 = kws_smlad(p1, u1, kws_smlad(p0, u0, a1));
            if (pixels > 1) {
                a3 = kws_smlad(q1, u1, kws_smlad(q0, u0, a3));
            }
        }
        patch += 4;
        second += 4;
        w += 4 * channels;
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

/* Four channels from c of a depthwise window: a pointer per tap, weights a row of `channels` per tap. */
KWS_INLINE void kws_depthwise_4(const int8_t *const *tap, int32_t c, const int8_t *w, int32_t taps, int32_t channels, int32_t zero,
                                int32_t *acc)
{
    const uint32_t minus = (uint32_t)(-zero & 0xFFFF) * 0x10001u;
    int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
    for (int32_t t = 0; t < taps; t++) {
        const uint32_t x = kws_load(tap[t] + c);
        const uint32_t u = kws_load(w + t * channels + c);
        const uint32_t x_even = kws_sxtab16(minus, x), x_odd = kws_sxtab16_ror8(minus, x);
        const uint32_t u_even = kws_sxtb16(u), u_odd = kws_sxtb16_ror8(u);
        a0 = __smlabb((int32_t)x_even, (int32_t)u_even, a0);
        a1 = __smlabb((int32_t)x_odd, (int32_t)u_odd, a1);
        a2 = __smlatt((int32_t)x_even, (int32_t)u_even, a2);
        a3 = __smlatt((int32_t)x_odd, (int32_t)u_odd, a3);
    }
    acc[0] = a0;
    acc[1] = a1;
    acc[2] = a2;
    acc[3] = a3;
}

#endif
