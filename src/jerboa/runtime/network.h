/* SPDX-License-Identifier: Apache-2.0 */
/* Arithmetic shared by the generated layers. Right shifts of negative values are arithmetic on every supported compiler. */
#ifndef KWS_NETWORK_H
#define KWS_NETWORK_H

#include <stdint.h>

#if defined(__GNUC__)
#define KWS_LAYER static __attribute__((noinline))
#define KWS_INLINE static inline __attribute__((always_inline, unused))
#else
#define KWS_LAYER static
#define KWS_INLINE static inline
#endif

/* floor((acc * multiplier + 2^(shift-1)) / 2^shift) for 32 <= shift <= 62: the result fits 31 bits. */
KWS_INLINE int32_t kws_requantize(int32_t acc, int32_t multiplier, int32_t shift)
{
    return (int32_t)(((int64_t)acc * multiplier + ((int64_t)1 << (shift - 1))) >> shift);
}

/* The same for any shift of 1 or more, held within 30 bits. */
KWS_INLINE int32_t kws_requantize_wide(int32_t acc, int32_t multiplier, int32_t shift)
{
    const int64_t value = ((int64_t)acc * multiplier + ((int64_t)1 << (shift - 1))) >> shift;
    return (int32_t)(value > 1073741823 ? 1073741823 : (value < -1073741824 ? -1073741824 : value));
}

KWS_INLINE int8_t kws_clamp(int32_t value, int32_t zero_point, int32_t low, int32_t high)
{
    const int32_t q = value + zero_point;
    return (int8_t)(q < low ? low : (q > high ? high : q));
}

/* floor(numerator / denominator) for quotients below 2^bits, by subtraction: Armv6-M has no divider. */
KWS_INLINE uint32_t kws_quotient(uint32_t numerator, uint32_t denominator, int32_t bits)
{
    uint32_t quotient = 0;
    uint64_t rest = numerator;
    for (int32_t bit = bits - 1; bit >= 0; bit--) {
        const uint64_t part = (uint64_t)denominator << bit;
        if (rest >= part) {
            rest -= part;
            quotient |= 1u << bit;
        }
    }
    return quotient;
}

/* floor(sqrt(value)), one bit at a time. */
KWS_INLINE uint32_t kws_square_root(uint64_t value)
{
    uint64_t rest = value;
    uint64_t root = 0;
    for (uint64_t bit = (uint64_t)1 << 62; bit != 0; bit >>= 2) {
        if (rest >= root + bit) {
            rest -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
    }
    return (uint32_t)root;
}

#endif
