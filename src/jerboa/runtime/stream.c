/* SPDX-License-Identifier: Apache-2.0 */
/* From samples to posteriors: PCM is cut into frames, frames into a ring, and the network runs on the last KWS_FRAMES of them. */
#include "kws.h"
#include "kws_internal.h"

static void features_push(kws_state *state)
{
    kws_frontend_frame(state->pcm, state->ring + state->head * KWS_FEATURES, kws_arena);
    state->head = state->head + 1u == KWS_FRAMES ? 0u : state->head + 1u;
    if (state->filled < KWS_FRAMES) {
        state->filled++;
    } else {
        state->since++;
    }
    for (uint32_t i = 0; i < KWS_WINDOW - KWS_HOP; i++) {
        state->pcm[i] = state->pcm[i + KWS_HOP];
    }
    state->fill = KWS_WINDOW - KWS_HOP;
}

static void classify_ring(kws_state *state)
{
    int8_t *input = kws_network_input();
    uint32_t from = state->head * KWS_FEATURES;
    for (uint32_t i = 0; i < KWS_FRAMES * KWS_FEATURES; i++) {
        input[i] = state->ring[from];
        from = from + 1u == KWS_FRAMES * KWS_FEATURES ? 0u : from + 1u;
    }
    kws_network_run();
    const int8_t *output = kws_network_output();
    for (uint32_t i = 0; i < KWS_CLASSES; i++) {
        state->posteriors[i] = output[i];
    }
    state->since = 0;
}

void kws_reset(kws_state *state)
{
    state->fill = 0;
    state->head = 0;
    state->filled = 0;
    state->since = KWS_STRIDE_FRAMES;
    for (uint32_t i = 0; i < KWS_CLASSES; i++) {
        state->posteriors[i] = -128;
    }
}

kws_status kws_push(kws_state *state, const int16_t *pcm, uint32_t count, uint32_t *used)
{
    uint32_t taken = 0;
    if (state == 0 || pcm == 0 || used == 0) {
        return KWS_BAD_ARGUMENT;
    }
    while (taken < count) {
        const uint32_t room = KWS_WINDOW - state->fill;
        const uint32_t some = count - taken < room ? count - taken : room;
        int16_t *target = state->pcm + state->fill;
        for (uint32_t i = 0; i < some; i++) {
            target[i] = pcm[taken + i];
        }
        taken += some;
        state->fill += some;
        if (state->fill == KWS_WINDOW) {
            features_push(state);
            if (state->filled == KWS_FRAMES && state->since >= KWS_STRIDE_FRAMES) {
                classify_ring(state);
                *used = taken;
                return KWS_DECISION;
            }
        }
    }
    *used = taken;
    return KWS_MORE;
}

kws_status kws_classify(kws_state *state, const int16_t *clip)
{
    uint32_t used = 0;
    kws_reset(state);
    return kws_push(state, clip, KWS_CLIP_SAMPLES, &used);
}

