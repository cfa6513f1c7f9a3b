/* The integer helpers of the Arm run-time ABI that Armv6-M code calls: 64-bit multiply and shifts, 32-bit division. The cores with
 * Thumb-2 do all of them in instructions. Sections 4.2 and 4.3.1 of the ABI (IHI 0043). */
#include <stdint.h>

uint64_t __aeabi_lmul(uint64_t a, uint64_t b);
uint64_t __aeabi_llsl(uint64_t value, int32_t shift);
uint64_t __aeabi_llsr(uint64_t value, int32_t shift);
int64_t __aeabi_lasr(int64_t value, int32_t shift);
uint32_t __aeabi_uidiv(uint32_t dividend, uint32_t divisor);
int32_t __aeabi_idiv(int32_t dividend, int32_t divisor);
uint64_t __aeabi_uidivmod(uint32_t dividend, uint32_t divisor);
uint64_t __aeabi_idivmod(int32_t dividend, int32_t divisor);

static uint32_t low(uint64_t value)
{
    return (uint32_t)value;
}

static uint32_t high(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

static uint64_t join(uint32_t upper, uint32_t lower)
{
    return ((uint64_t)upper << 32) | lower;
}

/* In 16-bit halves: a 32 × 32 → 64 multiplication here would call this very function. */
uint64_t __aeabi_lmul(uint64_t a, uint64_t b)
{
    const uint32_t a0 = low(a) & 0xFFFFu;
    const uint32_t a1 = low(a) >> 16;
    const uint32_t b0 = low(b) & 0xFFFFu;
    const uint32_t b1 = low(b) >> 16;
    const uint32_t p00 = a0 * b0;
    const uint32_t p01 = a0 * b1;
    const uint32_t p10 = a1 * b0;
    const uint32_t middle = (p00 >> 16) + (p01 & 0xFFFFu) + (p10 & 0xFFFFu);
    const uint32_t upper = a1 * b1 + (p01 >> 16) + (p10 >> 16) + (middle >> 16);
    return join(upper + low(a) * high(b) + high(a) * low(b), (p00 & 0xFFFFu) | (middle << 16));
}

uint64_t __aeabi_llsl(uint64_t value, int32_t shift)
{
    if (shift == 0) {
        return value;
    }
    if (shift >= 32) {
        return join(low(value) << (shift - 32), 0);
    }
    return join((high(value) << shift) | (low(value) >> (32 - shift)), low(value) << shift);
}

uint64_t __aeabi_llsr(uint64_t value, int32_t shift)
{
    if (shift == 0) {
        return value;
    }
    if (shift >= 32) {
        return high(value) >> (shift - 32);
    }
    return join(high(value) >> shift, (low(value) >> shift) | (high(value) << (32 - shift)));
}

int64_t __aeabi_lasr(int64_t value, int32_t shift)
{
    const int32_t upper = (int32_t)high((uint64_t)value);
    const uint32_t lower = low((uint64_t)value);
    if (shift == 0) {
        return value;
    }
    if (shift >= 32) {
        return (int64_t)join((uint32_t)(upper >> 31), (uint32_t)(upper >> (shift - 32)));
    }
    return (int64_t)join((uint32_t)(upper >> shift), (lower >> shift) | ((uint32_t)upper << (32 - shift)));
}

/* Quotient in the low word (r0), remainder in the high word (r1); a division by zero gives the quotient 0. */
uint64_t __aeabi_uidivmod(uint32_t dividend, uint32_t divisor)
{
    uint32_t quotient = 0;
    uint32_t rest = 0;
    if (divisor == 0) {
        return 0;
    }
    for (uint32_t bit = 0x80000000u; bit != 0; bit >>= 1) {
        const uint32_t carry = rest >> 31;
        rest = (rest << 1) | ((dividend & bit) != 0 ? 1u : 0u);
        if (carry != 0 || rest >= divisor) {
            rest -= divisor;
            quotient |= bit;
        }
    }
    return join(rest, quotient);
}

uint64_t __aeabi_idivmod(int32_t dividend, int32_t divisor)
{
    const uint32_t top = dividend < 0 ? 0u - (uint32_t)dividend : (uint32_t)dividend;
    const uint32_t bottom = divisor < 0 ? 0u - (uint32_t)divisor : (uint32_t)divisor;
    const uint64_t both = __aeabi_uidivmod(top, bottom);
    const uint32_t quotient = (dividend < 0) != (divisor < 0) ? 0u - low(both) : low(both);
    const uint32_t rest = dividend < 0 ? 0u - high(both) : high(both);
    return join(rest, quotient);
}

uint32_t __aeabi_uidiv(uint32_t dividend, uint32_t divisor)
{
    return low(__aeabi_uidivmod(dividend, divisor));
}

int32_t __aeabi_idiv(int32_t dividend, int32_t divisor)
{
    return (int32_t)low(__aeabi_idivmod(dividend, divisor));
}
