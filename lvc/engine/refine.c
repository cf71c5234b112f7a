/* A round of refining a frame's latents (lvc/codec/refine.py): those that move are the ones that save most. */
#include <stdint.h>

#include "cpu.h"
#include "nets.h"

#define AT_ONCE 3 /* latents of a block that may move. What many do together is not what each does alone (decision 009) */
#define STEP (1 << MEAN_BITS)

typedef struct {
    float change; /* of the cost, in bits */
    int channel, by;
} Move;

/* Moves latents by a step up or down where bits and error fall together.

   values, symbols, tables: of the latents as they are coded, [blocks, channels].
   slope: the error's first derivative by a value; curvature: its second, [channels]; worth: what an error of 1 costs.
   bits: what symbols cost, [TABLES, 2 * SYMBOL_MAX + 1].
   y: latents in sixteenths of a step; those that move are set. */
LVC_API void lvc_refine(const int16_t *values, const int16_t *symbols, const uint8_t *tables, const float *slope,
                        const float *curvature, float worth, const float *bits, int64_t blocks, int64_t channels,
                        int16_t *y)
{
    for (int64_t block = 0; block < blocks; block++) {
        int64_t first = block * channels;
        Move best[AT_ONCE] = {{0, 0, 0}};
        for (int c = 0; c < channels; c++) {
            if (tables[first + c] == 0)
                continue; /* always 0 */
            int q = symbols[first + c];
            const float *cost = bits + tables[first + c] * (2 * SYMBOL_MAX + 1) + SYMBOL_MAX;
            float up = STEP * worth * slope[first + c], curve = 0.5f * STEP * STEP * worth * curvature[c];
            for (int by = -1; by <= 1; by += 2) {
                int next = q + by < -SYMBOL_MAX ? -SYMBOL_MAX : q + by > SYMBOL_MAX ? SYMBOL_MAX : q + by;
                Move move = {(float)by * up + curve + cost[next] - cost[q], c, by};
                for (int k = 0; k < AT_ONCE; k++)
                    if (move.change < best[k].change) {
                        Move worse = best[k];
                        best[k] = move;
                        move = worse;
                    }
            }
        }
        for (int k = 0; k < AT_ONCE && best[k].by; k++) {
            int64_t at = first + best[k].channel;
            int value = values[at] + best[k].by * STEP;
            y[at] = (int16_t)(value < -32768 ? -32768 : value > 32767 ? 32767 : value);
        }
    }
}
