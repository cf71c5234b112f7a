/* Programs of integer layers, C's form of program.py. All numbers in these structures were checked when the program was
   loaded; reference.py defines what a layer computes. */
#ifndef LVC_NETS_H
#define LVC_NETS_H

#include <stddef.h>
#include <stdint.h>

#include "rans.h"

#define SCALE_BASE 3 /* a tensor of scale s has ceil(h / 2^(s-3)) rows, with h rows at 1/8 */
#define SOURCES_MAX 8
#define TABLES 64 /* of probabilities; with index 0, symbols are 0 and not coded */
#define SYMBOL_MAX 2047
#define MEAN_BITS 4 /* means and values are in sixteenths of a step */

enum { OP_CONV, OP_DEPTHWISE, OP_BLOCK, OP_GAIN, OP_HYPER, OP_CODE };
enum { KIND_U7, KIND_S16 };
enum { MODE_POINT, MODE_DOWN2, MODE_UP2, MODE_DOWN3 };

typedef struct {
    int32_t kind, scale, channels;
} LvcTensor;

typedef struct {
    const void *weight;   /* [outputs, inputs] int8, or int16 in wide layers; depthwise [9, channels] */
    const int32_t *bias;  /* [level rows, outputs] */
    const uint8_t *shift; /* [outputs]; hyper: the tables */
} LvcWeights;

typedef struct {
    int32_t op, out, sources;
    int32_t source[SOURCES_MAX], shift[SOURCES_MAX], zero[SOURCES_MAX]; /* int16 is read as clamp((t >> shift) + zero) */
    int32_t mode, wide, limit; /* wide: int16 in, clamped to +-limit, int16 weights */
    int32_t step;              /* 0..3: only the step's quarter of the outputs, by position; -1: all */
    int32_t outputs, leaky, out_zero, high, add; /* add: a tensor, or -1 */
    int32_t block_zero[3], gate_shift;           /* block: after A, after the depthwise filter, after the gate */
    int32_t level_rows;                          /* of part[0].bias, gain, tables: level l has row l modulo this */
    LvcWeights part[5];                          /* one; block: A, depthwise, B, F, G */
    const int16_t *gain;                         /* [level rows, channels] */
    const uint8_t *gain_shift;                   /* [level rows] */
} LvcLayer;

typedef struct {
    const uint32_t *frequencies; /* of tables 1..63, 2 * reach + 2 symbols each */
    const uint16_t *reach;       /* [64]; symbols -reach..reach, then the escape */
} LvcTables;

/* One run. Rows and columns are at 1/8, both even. */
typedef struct {
    int32_t rows, columns, level;
    const void *const *inputs; /* contiguous [rows, columns, channels], in the program's order */
    void *const *outputs;
    const uint8_t *wanted; /* [rows / 2, columns / 2] blocks whose outputs are wanted; NULL: all */
    const uint8_t *coded;  /* the same for symbols; NULL: all */
    Rans *rans;            /* stream of the symbols; NULL: `z` and `symbols` supply them */
    const int16_t *y;      /* writer: latents in sixteenths of a step [., ., channels] */
    int16_t *z;            /* hyper-latents [., ., channels]: input unless a stream is read; receives those coded */
    const uint8_t *rounding; /* writer: [64] by table, added to sixteenths before truncation; 8 rounds to the nearest */
    int16_t *symbols;        /* receives the latents' symbols [., ., channels]; may be NULL */
    uint8_t *tables;         /* receives the table of each latent [., ., channels]; may be NULL */
} LvcRun;

typedef struct Program Program;
typedef struct Workspace Workspace;

#endif
