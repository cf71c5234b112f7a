/* The inner loops of integer networks, for each instruction set. All give the same results.

   Tensors are channels last. A pixel's channels are padded to a multiple of 32 (`padded`); the padding has no meaning.
   Activations ("u7") are bytes 0..127, weights int8, sums int32. A sum gets its bias, is shifted right (half of the
   divisor is in the bias already, which rounds) and passes through an output stage, `Stage`. */
#ifndef LVC_KERNELS_H
#define LVC_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#include "cpu.h"

#define GROUP 32       /* output channels computed together */
#define SHIFTS_MOST 24 /* the largest shift of a sum */

static inline int padded(int channels)
{
    return (channels + GROUP - 1) / GROUP * GROUP;
}

/* Weights of a matrix product in the order of an instruction set's loops. Outputs are padded to groups with zeros. */
typedef struct {
    int steps;  /* inputs: groups of 4 bytes, or of 2 int16 */
    int groups; /* of 32 outputs */
    void *weights; /* [groups][steps][32][4] int8 or [groups][steps][32][2] int16, lanes as `lane_channel` says */
    int32_t *bias, *shift; /* [32 * groups], in that order too */
} Matrix;

/* A depthwise 3x3 filter: for every channel and column, the weights of three rows and a zero. */
typedef struct {
    int groups;
    int8_t *weights; /* [groups][3 columns][32][4] */
    int32_t *bias, *shift;
} Depthwise;

enum {
    STAGE_U7,   /* clamp(leaky(v) + zero, 0, high) as a byte */
    STAGE_S8,   /* clamp(leaky(v), -128, 127) as a byte */
    STAGE_GATE, /* p = (clamp(v, -128, 127) * gate + half) >> gate_shift, then clamp(p + zero, 0, high) as a byte */
    STAGE_S16,  /* saturated to int16 */
    STAGE_ADD   /* as STAGE_S16, then plus `add`, saturated again */
};

/* The output stage of shifted sums. Strides are in elements per pixel. */
typedef struct {
    int kind, leaky, zero, high;
    void *out;
    ptrdiff_t out_stride;
    const int16_t *add;
    ptrdiff_t add_stride;
    const int8_t *gate;
    ptrdiff_t gate_stride;
    int gate_shift;
} Stage;

typedef struct {
    int lanes;  /* int32 in a vector */
    int powers; /* 1 if a shift s is stored as 2^(SHIFTS_MOST - s) */
    /* the product for `count` u7 pixels of x; reads only the first 4 * steps channels of each */
    void (*matrix)(const Matrix *m, const uint8_t *x, ptrdiff_t stride, int count, const Stage *stage);
    /* the same for int16 inputs */
    void (*matrix16)(const Matrix *m, const int16_t *x, ptrdiff_t stride, int count, const Stage *stage);
    /* rows[r] points to the pixel left of the first: in the row above (r = 0), the same row (1), the row below (2) */
    void (*depthwise)(const Depthwise *d, const uint8_t *const rows[3], ptrdiff_t stride, int count,
                      const Stage *stage);
    /* clamp(((t + half) >> shift) + zero, 0, 127), `channels` rounded up to 32; shift 0..8 */
    void (*quantise)(const int16_t *t, ptrdiff_t t_stride, uint8_t *x, ptrdiff_t x_stride, int count, int channels,
                     int shift, int zero);
} Kernels;

/* The kernels of an instruction set that runs here. */
const Kernels *kernels_of(Isa isa);

extern const Kernels kernels_c;
#if defined(__x86_64__)
extern const Kernels kernels_avx2, kernels_avxvnni, kernels_evexvnni, kernels_avx512vnni;
#elif defined(__aarch64__)
extern const Kernels kernels_neon;
#endif

/* The channel, within its group of 32, that lane `at` (0..31 across the group's vectors) computes. With this order, two
   int32 vectors packed into one int16 vector are in channel order without another shuffle. */
static inline int lane_channel(int lanes, int at)
{
    if (lanes == 1)
        return at;
    int vector = at / lanes, lane = at % lanes;
    return vector / 2 * 2 * lanes + lane / 4 * 8 + vector % 2 * 4 + lane % 4;
}

#endif
