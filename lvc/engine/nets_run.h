/* What the interpreter (nets.c) and the gradient (gradient.c) share. */
#ifndef LVC_NETS_RUN_H
#define LVC_NETS_RUN_H

#include <stdlib.h>

#include "kernels.h"
#include "nets.h"
#include "pool.h"

typedef struct {
    LvcLayer is;
    int taps, row;      /* taps per source; bytes or int16 of one pixel's inputs in a row buffer */
    Matrix matrix[6];   /* block: A, B, u, v, G; else one, or four: for quarters, or for the pixels of a 2x2 shuffle */
    int32_t *bias[6];   /* of all levels */
    Depthwise depthwise;
} Layer;

struct Program {
    const Kernels *kernels;
    int tensors, layers, inputs, outputs, levels;
    LvcTensor *tensor;
    Layer *layer;
    int *input, *output;
    size_t scratch_pixel; /* bytes per worker and column at 1/8 */
    RansTable *table;     /* [64] */
    uint16_t reach[TABLES];
};

struct Workspace {
    uint8_t *memory;
    size_t bytes;
};

static inline int size_at(int at8, int scale)
{
    return (at8 + (1 << (scale - SCALE_BASE)) - 1) >> (scale - SCALE_BASE);
}

static inline size_t pixel_bytes(const LvcTensor *t)
{
    return (size_t)padded(t->channels) * (t->kind == KIND_S16 ? 2 : 1);
}

static inline size_t aligned(size_t bytes)
{
    return (bytes + 127) / 64 * 64; /* and a cache line of slack */
}

/* The scale that a layer iterates over: its outputs', or its inputs' if it turns one pixel into four. */
static inline int walk_scale(const Program *p, const LvcLayer *l)
{
    return p->tensor[l->out].scale + (l->op == OP_CONV && l->mode == MODE_UP2);
}

/* A run's state */

typedef struct {
    const Program *p;
    const LvcRun *run;
    uint8_t **tensor;   /* where each lies */
    uint8_t **work;     /* for each layer, the pixels to compute at the scale it iterates over; NULL: all */
    uint8_t *scratch;   /* `scratch_bytes` per worker */
    size_t scratch_bytes;
    const Layer *layer; /* the one that runs */
    int bands, rows, columns; /* how it is divided, at the scale it iterates over */
    const uint8_t *mask;
} State;

static inline int rows_of(const State *s, int scale)
{
    return size_at(s->run->rows, scale);
}

static inline int columns_of(const State *s, int scale)
{
    return size_at(s->run->columns, scale);
}

static inline uint8_t *row_of(const State *s, int tensor, int y)
{
    const LvcTensor *t = &s->p->tensor[tensor];
    return s->tensor[tensor] + (size_t)y * columns_of(s, t->scale) * pixel_bytes(t);
}

/* The row of a layer's tables for the level; if a layer has fewer rows than levels, they repeat. */
static inline int level_row(const State *s)
{
    return s->run->level % s->layer->is.level_rows;
}

typedef struct {
    size_t at, bytes;
    int from, to; /* the first and last layer that need the tensor */
} Place;

/* Whether an input or output of the program can lie in the caller's array: its pixels have no padding. */
static inline int as_given(const LvcTensor *t)
{
    return padded(t->channels) == t->channels;
}

static inline void *allocate(size_t count, size_t size)
{
    void *memory = NULL;
    if (count == 0 || size <= (SIZE_MAX - 128) / count)
        memory = calloc(1, aligned(count * size));
    return memory;
}

/* The first marked pixel of a row from x on; `columns` if there is none. */
int next_set(const uint8_t *flags, int x, int columns);

/* Calls `run` for the runs of marked pixels in a row; NULL: all are. */
typedef void (*RunFunction)(const void *context, int y, int x, int count);
void each_run(const uint8_t *flags, int columns, int y, RunFunction run, const void *context);

/* Finds the first and last layer that need each tensor; those that can lie in the caller's arrays get none. */
void find_lifetimes(const State *s, Place *place);

/* Places the tensors that have a lifetime, with `sample` bytes for a sample, or 0: their own; returns the bytes of all. */
size_t place_tensors(const State *s, Place *place, size_t sample);

/* The caller's arrays take the place of tensors that can lie there; other inputs are copied. */
void take_arrays(State *s);

/* Lays out the arrays of a run in its workspace; with NULL, counts the bytes. */
size_t lay_out(State *s, const Place *place, size_t tensors, uint8_t *memory, uint8_t **need);
int workspace_has(Workspace *w, size_t bytes);

/* Copies a tensor from (`from` not NULL) or to an array without padding. */
void copy_channels(const State *s, int tensor, const void *from, void *to);

/* Sets s->work. `need`: a zeroed mask for each tensor. */
void plan_work(State *s, uint8_t **need);

/* Sets which layer runs, and how it is divided. */
void begin_layer(State *s, int index);
void run_layer(State *s, int index);
void program_free(Program *p);

#endif
