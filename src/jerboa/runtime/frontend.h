/* SPDX-License-Identifier: Apache-2.0 */
/* From PCM to features: integers only, the same bytes on every machine. */
#ifndef KWS_FRONTEND_H
#define KWS_FRONTEND_H

#include <stdint.h>

#include "kws_frontend_tables.h"

/* One frame: KWS_WINDOW samples in, KWS_FEATURES features out.
 * scratch: KWS_FRONTEND_SCRATCH_BYTES, free again afterwards. */
void kws_frontend_frame(const int16_t *window, int8_t *features, uint32_t *scratch);

#endif
