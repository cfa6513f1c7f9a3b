/* SPDX-License-Identifier: Apache-2.0 */
/* The application that is emulated: it owns a state and one block of samples, as firmware fed by DMA would. */
#include "kws.h"
#include "kws_internal.h"

kws_state kws_harness_state;
int16_t kws_harness_pcm[KWS_HOP];

void kws_harness_reset(void)
{
    kws_reset(&kws_harness_state);
}

/* Push count samples of the block; the number of decisions they brought. */
int32_t kws_harness_push(uint32_t count)
{
    int32_t decisions = 0;
    uint32_t at = 0;
    while (at < count) {
        uint32_t used = 0;
        if (kws_push(&kws_harness_state, kws_harness_pcm + at, count - at, &used) == KWS_DECISION) {
            decisions++;
        }
        at += used;
    }
    return decisions;
}

/* The network on the features in the ring; posteriors go to the state. */
int32_t kws_harness_infer(void)
{
    return (int32_t)kws_infer(kws_harness_state.ring, kws_harness_state.posteriors);
}

/* The front end on the samples in the state; features go to the start of the ring. */
void kws_harness_frame(void)
{
    kws_frontend_frame(kws_harness_state.pcm, kws_harness_state.ring, kws_arena);
}
