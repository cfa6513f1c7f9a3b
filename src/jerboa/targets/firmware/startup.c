/* Start of a bare firmware image: vector table, memory initialisation, FPU. No libc. */
#include <stdint.h>

extern uint32_t __data_start[], __data_end[], __bss_start[], __bss_end[], __stack_top[];
extern const uint32_t __data_load[];

void Reset_Handler(void);
void Default_Handler(void);
int main(void);

/* A firmware that is only a library: the emulator calls its functions after the reset. */
__attribute__((weak, noinline)) int main(void)
{
    for (;;) {
        __asm__ volatile("wfi");
    }
}

__attribute__((noreturn)) void Default_Handler(void)
{
    for (;;) {
        __asm__ volatile("" ::: "memory");
    }
}

__attribute__((noreturn)) void Reset_Handler(void)
{
    const uint32_t *from = __data_load;
    for (uint32_t *to = __data_start; to < __data_end; to++) {
        *to = *from++;
    }
    for (uint32_t *to = __bss_start; to < __bss_end; to++) {
        *to = 0;
    }
#ifdef __ARM_FP
    /* CPACR: full access to coprocessors 10 and 11 (Armv7-M ARM B3.2.20). */
    *(volatile uint32_t *)0xE000ED88u |= 0xFu << 20;
    __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
    (void)main();
    Default_Handler();
}

/* Stack pointer, reset, then the fourteen system exceptions. */
typedef union {
    uint32_t *stack;
    void (*handler)(void);
} vector;

__attribute__((section(".vectors"), used)) const vector jerboa_vectors[16] = {
    {.stack = __stack_top},
    {.handler = Reset_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
    {.handler = Default_Handler},
};
