/* The gradient of a program: what gradient.c and its inner loops for each instruction set share. */
#ifndef LVC_GRADIENT_H
#define LVC_GRADIENT_H

#include "nets_run.h"

#define BYTE_MOST 63  /* bytes are 64 more than what they stand for */
#define WIDE_MOST 2047
#define BLOCK_PARTS 5
#define CHUNK 48        /* pixels at a time, so that a worker's buffers stay in its cache */
#define FORWARD_BYTES 6 /* per channel and pixel, of a block's forward pass */

/* Runs a step of a layer in a band of rows, for `pool_run`. */
typedef void BackBand(void *backward, int task, int worker);
extern BackBand back_band_c;
#if defined(__x86_64__)
extern BackBand back_band_avx2;
#endif

/* The transposed weights of a layer. */
typedef struct {
    Matrix matrix[SOURCES_MAX]; /* conv: of every source; block: of A, B, F and G */
    float most[SOURCES_MAX];    /* the largest integer that a gradient becomes */
    float unit[SOURCES_MAX];    /* what a product's 1 stands for, where a gradient's is 1 */
    float *scale[BLOCK_PARTS];  /* 2^-shift of the outputs; block: of A, the depthwise filter, B, F, G */
    float *filter;              /* block: the depthwise filter, mirrored */
} Back;

/* A program, and what it takes to derive its first output by one of its tensors. */
typedef struct {
    Program *program;
    Back *back;
    uint8_t *active; /* whether the tensor depends on the one in question */
    int of;
    BackBand *band;
    size_t scratch_pixel;
} Gradient;

enum { PART_A, PART_B, PART_F, PART_G };

/* A run. */
typedef struct {
    const Gradient *g;
    State *s;
    const Back *back;  /* of the layer that runs, s->layer */
    float **slope;     /* of each active tensor, [rows, columns, padded channels] */
    uint8_t *scratch;  /* `scratch_bytes` per worker */
    size_t scratch_bytes;
    uint8_t *first;    /* block: A's outputs, with a pixel more on all sides */
    float *middle;     /* block: slopes of the depthwise filter's sums, with a pixel more on all sides */
    uint8_t *around;   /* block: the mask, if there is one, and the pixels around it */
    int step;
} Backward;

/* The inputs of a layer's widest product with transposed weights. */
static inline int most_inputs(const LvcLayer *l)
{
    return padded(l->op == OP_BLOCK ? 2 * l->outputs : l->mode == MODE_UP2 ? 4 * l->outputs : l->outputs);
}

static inline float *slope_row(const Backward *b, int tensor, int y, int x)
{
    const LvcTensor *t = &b->s->p->tensor[tensor];
    return b->slope[tensor] + ((size_t)y * columns_of(b->s, t->scale) + x) * padded(t->channels);
}

#endif
