/* SPDX-License-Identifier: Apache-2.0 */
/* The front end's inner loops in Armv7E-M instructions: the same values as the C beside which they are included, with
 * everything in registers. At most 13 registers, so that code with a frame pointer compiles too. */
#ifndef KWS_FRONTEND_DSP_H
#define KWS_FRONTEND_DSP_H

INLINE int32_t mul_low(int32_t a, uint32_t word)
{
    int32_t r;
    __asm__("smulwb %0, %1, %2" : "=r"(r) : "r"(a), "r"(word));
    return r;
}

INLINE int32_t add_mul_high(int32_t sum, int32_t a, uint32_t word)
{
    int32_t r;
    __asm__("smlawt %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(word), "r"(sum));
    return r;
}

INLINE int32_t sub_mul_word(int32_t from, int32_t a, uint32_t word)
{
    int32_t r;
    __asm__("smmls %0, %1, %2, %3" : "=r"(r) : "r"(a), "r"(word), "r"(from));
    return r;
}

/* (re, im) becomes (new, im): turned by the twiddle t and divided by 4; re is free afterwards. */
#define TURN(new, re, im, t) \
    "smulwb " new ", " re ", " t "\n\t" \
    "smlawt " new ", " im ", " t ", " new "\n\t" \
    "smulwb " im ", " im ", " t "\n\t" \
    "smmls " im ", " re ", " t ", " im "\n\t"

/* d = (x, d1), c = (d0, c1), b = (c0, b1), and a = (a0, a1) is divided by 4. */
#define COMBINE(store0, store1, store2, store3) \
    "add %[b0], %[c0], %[x]\n\t" \
    "sub %[c0], %[c0], %[x]\n\t" \
    "add %[x], %[b1], %[d1]\n\t" \
    "sub %[b1], %[b1], %[d1]\n\t" \
    "add %[d1], %[d0], %[a0], asr #2\n\t" \
    "rsb %[d0], %[d0], %[a0], asr #2\n\t" \
    "add %[a0], %[c1], %[a1], asr #2\n\t" \
    "rsb %[c1], %[c1], %[a1], asr #2\n\t" \
    "add %[a1], %[d0], %[b1]\n\t" \
    "sub %[d0], %[d0], %[b1]\n\t" \
    "sub %[b1], %[c1], %[c0]\n\t" \
    "add %[c1], %[c1], %[c0]\n\t" \
    "strd %[a1], %[b1], " store1 "\n\t" \
    "strd %[d0], %[c1], " store3 "\n\t" \
    "add %[a1], %[d1], %[b0]\n\t" \
    "sub %[d1], %[d1], %[b0]\n\t" \
    "add %[b0], %[a0], %[x]\n\t" \
    "sub %[a0], %[a0], %[x]\n\t" \
    "strd %[d1], %[a0], " store2 "\n\t" \
    "strd %[a1], %[b0], " store0 "\n\t"

#define EIGHT_AND_ONE \
    [a0] "=&r"(a0), [a1] "=&r"(a1), [b0] "=&r"(b0), [b1] "=&r"(b1), [c0] "=&r"(c0), [c1] "=&r"(c1), [d0] "=&r"(d0), \
        [d1] "=&r"(d1), [x] "=&r"(x)

/* A stage whose legs lie so close that immediate offsets reach them: the twiddles stay in registers for all groups. */
#define NEAR_STAGE(span) \
    INLINE const uint32_t *dsp_stage_##span(complex32 *z, const uint32_t *twiddle) \
    { \
        for (complex32 *base = z; base < z + span; base++) { \
            const uint32_t t1 = twiddle[0]; \
            const uint32_t t2 = twiddle[1]; \
            const uint32_t t3 = twiddle[2]; \
            complex32 *p = base; \
            twiddle += 3; \
            do { \
                int32_t a0, a1, b0, b1, c0, c1, d0, d1, x; \
                __asm__ volatile( \
                    "ldrd %[d0], %[d1], [%[p], %[s3]]\n\t" \
                    "ldrd %[c0], %[c1], [%[p], %[s2]]\n\t" \
                    TURN("%[x]", "%[d0]", "%[d1]", "%[t3]") \
                    "ldrd %[b0], %[b1], [%[p], %[s1]]\n\t" \
                    TURN("%[d0]", "%[c0]", "%[c1]", "%[t2]") \
                    "ldrd %[a0], %[a1], [%[p]]\n\t" \
                    TURN("%[c0]", "%[b0]", "%[b1]", "%[t1]") \
                    COMBINE("[%[p]], %[s4]", "[%[p], %[s1]]", "[%[p], %[s2]]", "[%[p], %[s3]]") \
                    : EIGHT_AND_ONE, [p] "+&r"(p) \
                    : [t1] "r"(t1), [t2] "r"(t2), [t3] "r"(t3), [s1] "i"(8 * span), [s2] "i"(16 * span), \
                      [s3] "i"(24 * span), [s4] "i"(32 * span) \
                    : "memory"); \
            } while (p < z + POINTS); \
        } \
        return twiddle; \
    }

NEAR_STAGE(4)
NEAR_STAGE(16)

/* Legs 64 apart: few groups, so the twiddles are read along the way. */
INLINE const uint32_t *dsp_stage_64(complex32 *z, const uint32_t *twiddle)
{
    for (complex32 *p = z; p < z + POINTS; p += 3u * 64u) {
        const uint32_t *t = twiddle;
        complex32 *q = p + 2u * 64u;
        do {
            int32_t a0, a1, b0, b1, c0, c1, d0, d1, x, w;
            __asm__ volatile(
                "ldr %[w], [%[t], #8]\n\t"
                "ldrd %[d0], %[d1], [%[q], #512]\n\t"
                "ldrd %[c0], %[c1], [%[q]]\n\t"
                TURN("%[x]", "%[d0]", "%[d1]", "%[w]")
                "ldr %[w], [%[t], #4]\n\t"
                "ldrd %[b0], %[b1], [%[p], #512]\n\t"
                TURN("%[d0]", "%[c0]", "%[c1]", "%[w]")
                "ldr %[w], [%[t]], #12\n\t"
                "ldrd %[a0], %[a1], [%[p]]\n\t"
                TURN("%[c0]", "%[b0]", "%[b1]", "%[w]")
                COMBINE("[%[p]], #8", "[%[p], #512]", "[%[q]], #8", "[%[q], #512]")
                : EIGHT_AND_ONE, [w] "=&r"(w), [t] "+&r"(t), [p] "+&r"(p), [q] "+&r"(q)
                :
                : "memory");
        } while (t < twiddle + 3u * 64u);
    }
    return twiddle + 3u * 64u;
}

/* Two samples as one complex number, windowed: x is lost. LDR takes any alignment on these cores. */
#define WINDOWED(re, im, offset) \
    "ldr " im ", [%[pcm]" offset "\n\t" \
    "ldr %[x], [%[factor]" offset "\n\t" \
    "smulbb " re ", " im ", %[x]\n\t" \
    "smultt " im ", " im ", %[x]\n\t"

/* Butterflies begin … end of the first stage; the fourth leg is zero if legs is 3. */
INLINE void dsp_first_stage(const int16_t *pcm, complex32 *z, uint32_t begin, uint32_t end, uint32_t legs)
{
    const int16_t *factor = kws_frontend_window + 2u * begin;
    pcm += 2u * begin;
    for (const uint8_t *order = kws_frontend_order + begin; order < kws_frontend_order + end; order++) {
        complex32 *out = z + 4u * *order;
        int32_t a0, a1, b0, b1, c0, c1, d0, d1, x;
        if (legs == 4u) {
            __asm__ volatile(
                WINDOWED("%[d0]", "%[d1]", ", %[s3]]")
                WINDOWED("%[c0]", "%[c1]", ", %[s2]]")
                WINDOWED("%[b0]", "%[b1]", ", %[s1]]")
                WINDOWED("%[a0]", "%[a1]", "], #4")
                "add %[x], %[a0], %[c0]\n\t"
                "sub %[a0], %[a0], %[c0]\n\t"
                "add %[c0], %[a1], %[c1]\n\t"
                "sub %[a1], %[a1], %[c1]\n\t"
                "add %[c1], %[b0], %[d0]\n\t"
                "sub %[b0], %[b0], %[d0]\n\t"
                "add %[d0], %[b1], %[d1]\n\t"
                "sub %[b1], %[b1], %[d1]\n\t"
                "add %[d1], %[x], %[c1]\n\t"
                "sub %[x], %[x], %[c1]\n\t"
                "add %[c1], %[c0], %[d0]\n\t"
                "sub %[c0], %[c0], %[d0]\n\t"
                "strd %[d1], %[c1], [%[out]]\n\t"
                "strd %[x], %[c0], [%[out], #16]\n\t"
                "add %[d0], %[a0], %[b1]\n\t"
                "sub %[a0], %[a0], %[b1]\n\t"
                "sub %[c1], %[a1], %[b0]\n\t"
                "add %[a1], %[a1], %[b0]\n\t"
                "strd %[d0], %[c1], [%[out], #8]\n\t"
                "strd %[a0], %[a1], [%[out], #24]\n\t"
                : EIGHT_AND_ONE, [pcm] "+&r"(pcm), [factor] "+&r"(factor)
                : [out] "r"(out), [s1] "i"(4 * (int)QUARTER), [s2] "i"(8 * (int)QUARTER), [s3] "i"(12 * (int)QUARTER)
                : "memory");
        } else {
            __asm__ volatile(
                WINDOWED("%[c0]", "%[c1]", ", %[s2]]")
                WINDOWED("%[b0]", "%[b1]", ", %[s1]]")
                WINDOWED("%[a0]", "%[a1]", "], #4")
                "add %[x], %[a0], %[c0]\n\t"
                "sub %[a0], %[a0], %[c0]\n\t"
                "add %[c0], %[a1], %[c1]\n\t"
                "sub %[a1], %[a1], %[c1]\n\t"
                "add %[d1], %[x], %[b0]\n\t"
                "sub %[x], %[x], %[b0]\n\t"
                "add %[c1], %[c0], %[b1]\n\t"
                "sub %[c0], %[c0], %[b1]\n\t"
                "strd %[d1], %[c1], [%[out]]\n\t"
                "strd %[x], %[c0], [%[out], #16]\n\t"
                "add %[d0], %[a0], %[b1]\n\t"
                "sub %[a0], %[a0], %[b1]\n\t"
                "sub %[c1], %[a1], %[b0]\n\t"
                "add %[a1], %[a1], %[b0]\n\t"
                "strd %[d0], %[c1], [%[out], #8]\n\t"
                "strd %[a0], %[a1], [%[out], #24]\n\t"
                : EIGHT_AND_ONE, [pcm] "+&r"(pcm), [factor] "+&r"(factor)
                : [out] "r"(out), [s1] "i"(4 * (int)QUARTER), [s2] "i"(8 * (int)QUARTER)
                : "memory");
        }
    }
}

INLINE void dsp_split(complex32 *z)
{
    const uint32_t *word = kws_frontend_split;
    complex32 *p = z + 1;
    complex32 *q = z + POINTS - 1u;
    do {
        int32_t e0, e1, o0, o1, x, w;
        __asm__ volatile(
            "ldrd %[e0], %[e1], [%[p]]\n\t"
            "ldrd %[o0], %[o1], [%[q]]\n\t"
            "ldr %[w], [%[word]], #4\n\t"
            "add %[x], %[e0], %[o0]\n\t"
            "sub %[o0], %[o0], %[e0]\n\t"
            "sub %[e0], %[e1], %[o1]\n\t"
            "add %[e1], %[e1], %[o1]\n\t"
            TURN("%[o1]", "%[e1]", "%[o0]", "%[w]")
            "add %[e1], %[o1], %[x], asr #2\n\t"
            "rsb %[x], %[o1], %[x], asr #2\n\t"
            "add %[o1], %[o0], %[e0], asr #2\n\t"
            "rsb %[e0], %[o0], %[e0], asr #2\n\t"
            "strd %[e1], %[o1], [%[p]], #8\n\t"
            "strd %[x], %[e0], [%[q]], #-8\n\t"
            : [e0] "=&r"(e0), [e1] "=&r"(e1), [o0] "=&r"(o0), [o1] "=&r"(o1), [x] "=&r"(x), [w] "=&r"(w), [p] "+&r"(p),
              [q] "+&r"(q), [word] "+&r"(word)
            :
            : "memory");
    } while (p <= q);
}

#define BIN \
    "ldrd %[re], %[im], [%[bin]], #8\n\t" \
    "ldrsh %[w], [%[rise]], #2\n\t" \
    "smlal %Q[all], %R[all], %[re], %[re]\n\t" \
    "smulwb %[t], %[re], %[w]\n\t" \
    "smulwb %[w], %[im], %[w]\n\t" \
    "smlal %Q[all], %R[all], %[im], %[im]\n\t" \
    "smlal %Q[risen], %R[risen], %[re], %[t]\n\t" \
    "smlal %Q[risen], %R[risen], %[im], %[w]\n\t"

/* The energy of `bins` bins and the part of it that rises; gives the bin after them. */
INLINE const complex32 *dsp_segment(const complex32 *bin, const int16_t *rise, uint32_t bins, int64_t *all, int64_t *risen)
{
    int32_t re, im, w, t;
    int64_t a = 0;
    int64_t r = 0;
    __asm__ volatile(
        "lsrs %[bins], %[bins], #1\n\t"
        "bcc 1f\n\t"
        BIN
        "1: cbz %[bins], 3f\n\t"
        "2:\n\t"
        BIN
        BIN
        "subs %[bins], %[bins], #1\n\t"
        "bne 2b\n\t"
        "3:\n\t"
        : [re] "=&r"(re), [im] "=&r"(im), [w] "=&r"(w), [t] "=&r"(t), [bin] "+&r"(bin), [rise] "+&r"(rise), [bins] "+&l"(bins),
          [all] "+&r"(a), [risen] "+&r"(r)
        :
        : "memory", "cc");
    *all = a;
    *risen = r;
    return bin;
}

#undef TURN
#undef COMBINE
#undef EIGHT_AND_ONE
#undef NEAR_STAGE
#undef WINDOWED
#undef BIN

#endif
