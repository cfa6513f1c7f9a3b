/* SPDX-License-Identifier: Apache-2.0 */
/* The application that is emulated for a network without a front end. */
#include "kws.h"

struct {
    int8_t ring[KWS_INPUT_BYTES];
    int8_t posteriors[KWS_CLASSES];
} kws_harness_state;

int32_t kws_harness_infer(void)
{
    return (int32_t)kws_infer(kws_harness_state.ring, kws_harness_state.posteriors);
}
