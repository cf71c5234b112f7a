/* The gradient of layers, for runs of pixels in a row. Everything is static, because each instruction set has its own
   copy. */
#include <string.h>

#include "gradient.h"

/* A row of a run: what a worker holds. */
typedef struct {
    const Backward *b;
    uint8_t *scratch;
} Rows;

typedef struct {
    float *v;       /* [count, stride]: what is multiplied */
    uint8_t *q;     /* v in integers */
    int16_t *r;     /* the product */
    float *factor;  /* [count]: of a pixel's integers */
    int stride;
} Buffers;

static Buffers buffers_of(const Rows *rows, size_t at, int n)
{
    const LvcLayer *l = &rows->b->s->layer->is;
    Buffers u = {.stride = padded(n)};
    u.v = (float *)(void *)(rows->scratch + at * CHUNK);
    u.factor = u.v + (size_t)most_inputs(l) * CHUNK;
    u.q = (uint8_t *)(u.factor + CHUNK);
    u.r = (int16_t *)(void *)(u.q + 2 * (size_t)most_inputs(l) * CHUNK);
    return u;
}

/* The largest absolute value. Floats without their sign are in the order of their bits, of which a loop of vectors finds
   the largest without leave to reorder floats. */
static float largest_of(const float *v, int n)
{
    int32_t most = 0;
    for (int c = 0; c < n; c++) {
        int32_t bits;
        memcpy(&bits, v + c, sizeof bits);
        bits &= 0x7fffffff;
        most = bits > most ? bits : most;
    }
    float largest;
    memcpy(&largest, &most, sizeof largest);
    return largest;
}

static void round_to_bytes(const float *restrict v, float scale, uint8_t *restrict q, int n)
{
    for (int c = 0; c < n; c++)
        q[c] = (uint8_t)(int)(v[c] * scale + (BYTE_MOST + 1.5f));
}

/* Multiplies u->v with transposed weights, into u->r and u->factor. The rest of the last 32 of v is 0. */
static void multiply_back(const Backward *b, int which, const Buffers *u, int count)
{
    const Kernels *k = b->s->p->kernels;
    float most = b->back->most[which], unit = b->back->unit[which];
    int wide = b->s->layer->is.wide;
    for (int i = 0; i < count; i++) {
        const float *v = u->v + (size_t)i * u->stride;
        float largest = largest_of(v, u->stride), scale = largest > 0 ? most / largest : 0;
        u->factor[i] = largest / most * unit;
        if (wide) {
            int16_t *q = (int16_t *)(void *)u->q + (size_t)i * u->stride;
            for (int c = 0; c < u->stride; c++)
                q[c] = (int16_t)((int)(v[c] * scale + (WIDE_MOST + 1.5f)) - (WIDE_MOST + 1));
        } else {
            round_to_bytes(v, scale, u->q + (size_t)i * u->stride, u->stride);
        }
    }
    const Matrix *m = &b->back->matrix[which];
    Stage stage = {.kind = STAGE_S16, .out = u->r, .out_stride = m->groups * GROUP};
    if (wide)
        k->matrix16(m, (const int16_t *)(const void *)u->q, u->stride, count, &stage);
    else
        k->matrix(m, u->q, u->stride, count, &stage);
}

static void add_read(float *restrict to, const int16_t *restrict at, const int16_t *restrict r, float factor, int shift,
                     int zero, int c)
{
    int half = shift ? 1 << (shift - 1) : 0;
    for (int k = 0; k < c; k++) {
        int value = ((at[k] + half) >> shift) + zero;
        to[k] += (float)((value >= 0) & (value <= 127)) * factor * (float)r[k];
    }
}

/* Adds the product to the slopes of a source, where its reading did not clamp it. */
static void add_to_source(const Backward *b, int source, int y, int x, int count, const Buffers *u)
{
    const LvcLayer *l = &b->s->layer->is;
    const LvcTensor *t = &b->s->p->tensor[l->source[source]];
    int c = padded(t->channels), shift = l->shift[source], zero = l->zero[source];
    float *to = slope_row(b, l->source[source], y, x);
    float scale = 1.0f / (float)(1 << shift);
    const int16_t *at = (const int16_t *)(const void *)(row_of(b->s, l->source[source], y) + x * pixel_bytes(t));
    for (int i = 0; i < count; i++, to += c, at += c) {
        const int16_t *r = u->r + (size_t)i * c;
        float factor = u->factor[i] * scale;
        if (l->wide || t->kind == KIND_U7) /* nearly all of what a wide layer reads is within its limit */
            for (int k = 0; k < c; k++)
                to[k] += factor * (float)r[k];
        else
            add_read(to, at, r, factor, shift, zero, c);
    }
}

static void gain_back(const Rows *rows, int y, int x, int count)
{
    const Backward *b = rows->b;
    const LvcLayer *l = &b->s->layer->is;
    int row = level_row(b->s), c = padded(l->outputs);
    const int16_t *gain = l->gain + (size_t)row * l->outputs;
    const float *from = slope_row(b, l->out, y, x), scale = 1.0f / (float)(1 << l->gain_shift[row]);
    float *to = slope_row(b, l->source[0], y, x);
    for (int i = 0; i < count; i++, from += c, to += c)
        for (int k = 0; k < l->outputs; k++)
            to[k] += from[k] * scale * gain[k];
}

/* The slopes of a conv's sums for `count` pixels, `by` apart, of an output's row: into v, `stride` apart. */
static void conv_sums(const Backward *b, int y, int x, int by, int count, const float *scale, float *v, int stride)
{
    const LvcLayer *l = &b->s->layer->is;
    const LvcTensor *t = &b->s->p->tensor[l->out];
    int c = padded(l->outputs);
    const float *from = slope_row(b, l->out, y, x);
    const uint8_t *out = row_of(b->s, l->out, y) + x * pixel_bytes(t);
    for (int i = 0; i < count; i++, from += by * c, out += by * pixel_bytes(t), v += stride) {
        for (int k = 0; k < l->outputs; k++)
            v[k] = from[k] * scale[k];
        if (t->kind == KIND_U7)
            for (int k = 0; k < l->outputs; k++)
                v[k] = out[k] == 0 || out[k] == l->high ? 0 : l->leaky && out[k] < l->out_zero ? v[k] / 8 : v[k];
        else if (l->leaky)
            for (int k = 0; k < l->outputs; k++)
                v[k] = ((const int16_t *)(const void *)out)[k] < 0 ? v[k] / 8 : v[k];
    }
}

static void conv_back(const Rows *rows, int y, int x, int count)
{
    const Backward *b = rows->b;
    const LvcLayer *l = &b->s->layer->is;
    int c = l->outputs, four = l->mode == MODE_UP2;
    Buffers u = buffers_of(rows, 0, four ? 4 * c : c);
    memset(u.v, 0, (size_t)count * u.stride * sizeof *u.v);
    if (four) {
        int scale = b->s->p->tensor[l->out].scale, height = rows_of(b->s, scale), width = columns_of(b->s, scale);
        for (int k = 0; k < 4; k++) {
            int oy = 2 * y + k / 2, ox = 2 * x + k % 2, inside = (width - ox + 1) / 2;
            if (oy < height && inside > 0)
                conv_sums(b, oy, ox, 2, inside < count ? inside : count, b->back->scale[0] + k * c, u.v + k * c, u.stride);
        }
    } else {
        conv_sums(b, y, x, 1, count, b->back->scale[0], u.v, u.stride);
    }
    for (int k = 0; k < l->sources; k++)
        if (b->g->active[l->source[k]]) {
            multiply_back(b, k, &u, count);
            add_to_source(b, k, y, x, count, &u);
        }
}

static void simple_back(const void *context, int y, int x, int count)
{
    const Rows *rows = context;
    if (rows->b->s->layer->is.op == OP_GAIN)
        gain_back(rows, y, x, count);
    else
        conv_back(rows, y, x, count);
}

/* Blocks, in three steps: A of all pixels; the rest of the block and its gradient, down to the sums of the depthwise
   filter; the gradient of that filter and of A. */

static uint8_t *first_at(const Backward *b, int y, int x)
{
    return b->first + ((size_t)(y + 1) * (b->s->columns + 2) + x + 1) * padded(b->s->layer->is.outputs);
}

static float *middle_at(const Backward *b, int y, int x)
{
    return b->middle + ((size_t)(y + 1) * (b->s->columns + 2) + x + 1) * padded(b->s->layer->is.outputs);
}

/* Reads `count` pixels of the trunk as a block's layer `which` does. */
static void quantise_for(const Backward *b, int which, const int16_t *t, uint8_t *x, int count)
{
    const LvcLayer *l = &b->s->layer->is;
    ptrdiff_t c = padded(l->outputs);
    b->s->p->kernels->quantise(t, c, x, c, count, l->outputs, l->shift[which], l->zero[which]);
}

static const int16_t *trunk_at(const Backward *b, int y, int x)
{
    const LvcLayer *l = &b->s->layer->is;
    return (const int16_t *)(const void *)row_of(b->s, l->source[0], y) + (ptrdiff_t)x * padded(l->outputs);
}

static void block_start(const void *context, int y, int x, int count)
{
    const Rows *rows = context;
    const Backward *b = rows->b;
    const Layer *layer = b->s->layer;
    quantise_for(b, 0, trunk_at(b, y, x), rows->scratch, count);
    Stage stage = {.kind = STAGE_U7, .leaky = 1, .zero = layer->is.block_zero[0], .high = 127};
    stage.out = first_at(b, y, x);
    stage.out_stride = padded(layer->is.outputs);
    b->s->p->kernels->matrix(&layer->matrix[0], rows->scratch, stage.out_stride, count, &stage);
}

/* 1 where a value was not clamped to 0..127. A product with it, unlike a condition, leaves a loop its vectors. */
static float within(int value)
{
    return (float)((value > 0) & (value < 127));
}

static float leak(int negative)
{
    return (float)(8 - 7 * negative) / 8;
}

/* From the slope of a gate's output, in u->r, to those of its inputs, in u->v, for one pixel. */
static void gate_back(const LvcLayer *l, const float *restrict scale, const int8_t *restrict u,
                      const int8_t *restrict v, const int16_t *restrict r, float factor, float *restrict to)
{
    int shift = l->gate_shift, half = shift ? 1 << (shift - 1) : 0, zero = l->block_zero[2], c = l->outputs;
    factor /= (float)(1 << shift);
    for (int k = 0; k < c; k++) {
        float slope = within(((u[k] * v[k] + half) >> shift) + zero) * factor * (float)r[k];
        to[k] = scale[k] * slope * (float)(v[k] * ((u[k] > -128) & (u[k] < 127))) * leak(u[k] < 0);
        to[c + k] = scale[c + k] * slope * (float)(u[k] * ((v[k] > -128) & (v[k] < 127)));
    }
    memset(to + 2 * c, 0, (size_t)(padded(2 * c) - 2 * c) * sizeof *to);
}

static void add_within(float *restrict to, const uint8_t *restrict x, const int16_t *restrict r, float factor, int c)
{
    for (int k = 0; k < c; k++)
        to[k] += within(x[k]) * factor * (float)r[k];
}

static void keep_within(float *restrict to, const uint8_t *restrict x, const int16_t *restrict r,
                        const float *restrict scale, float factor, int c)
{
    for (int k = 0; k < c; k++)
        to[k] = within(x[k]) * factor * scale[k] * (float)r[k];
}

static void scale_rows(const float *restrict from, const float *restrict scale, float *restrict to, ptrdiff_t c,
                       int count)
{
    for (int i = 0; i < count; i++)
        for (int k = 0; k < c; k++)
            to[i * c + k] = from[i * c + k] * scale[k];
}

static void block_middle(const void *context, int y, int x, int count)
{
    const Rows *rows = context;
    const Backward *b = rows->b;
    const Layer *layer = b->s->layer;
    const LvcLayer *l = &layer->is;
    const Kernels *k = b->s->p->kernels;
    ptrdiff_t c = padded(l->outputs);
    size_t row = CHUNK * (size_t)c;
    uint8_t *d = rows->scratch, *second = d + row;
    int8_t *u = (int8_t *)(second + row), *v = u + row;
    int16_t *t = (int16_t *)(void *)(v + row);
    const uint8_t *lines[3];
    for (int r = 0; r < 3; r++)
        lines[r] = first_at(b, y + r - 1, x - 1);
    Stage stage = {.kind = STAGE_U7, .zero = l->block_zero[1], .high = 127, .out = d, .out_stride = c};
    k->depthwise(&layer->depthwise, lines, c, count, &stage);
    stage = (Stage){.kind = STAGE_ADD, .out = t, .out_stride = c, .add = trunk_at(b, y, x), .add_stride = c};
    k->matrix(&layer->matrix[1], d, c, count, &stage);
    quantise_for(b, 1, t, second, count);
    stage = (Stage){.kind = STAGE_S8, .leaky = 1, .out = u, .out_stride = c};
    k->matrix(&layer->matrix[2], second, c, count, &stage);
    stage = (Stage){.kind = STAGE_S8, .out = v, .out_stride = c};
    k->matrix(&layer->matrix[3], second, c, count, &stage);

    float *slope = slope_row(b, l->out, y, x), scale = 1.0f / (float)(1 << l->shift[1]);
    Buffers one = buffers_of(rows, FORWARD_BYTES * (size_t)c, l->outputs);
    Buffers two = buffers_of(rows, FORWARD_BYTES * (size_t)c, 2 * l->outputs);
    scale_rows(slope, b->back->scale[4], one.v, c, count);
    multiply_back(b, PART_G, &one, count);
    for (int i = 0; i < count; i++)
        gate_back(l, b->back->scale[3], u + i * c, v + i * c, one.r + i * c, one.factor[i], two.v + (size_t)i * two.stride);
    multiply_back(b, PART_F, &two, count);
    for (int i = 0; i < count; i++)
        add_within(slope + i * c, second + i * c, two.r + i * c, two.factor[i] * scale, (int)c);
    scale_rows(slope, b->back->scale[2], one.v, c, count);
    multiply_back(b, PART_B, &one, count);
    float *middle = middle_at(b, y, x);
    for (int i = 0; i < count; i++)
        keep_within(middle + i * c, d + i * c, one.r + i * c, b->back->scale[1], one.factor[i], (int)c);
}

/* The slopes of A's sums for one pixel, from those of the depthwise filter's around it. */
static void filter_back(const Back *back, int zero, const float *const from[9], const uint8_t *restrict a,
                        float *restrict to, int c)
{
    const float *restrict f = back->filter, *restrict scale = back->scale[0];
    const float *p0 = from[0], *p1 = from[1], *p2 = from[2], *p3 = from[3], *p4 = from[4], *p5 = from[5];
    const float *p6 = from[6], *p7 = from[7], *p8 = from[8];
    for (int k = 0; k < c; k++) {
        float sum = p0[k] * f[k] + p1[k] * f[c + k] + p2[k] * f[2 * c + k];
        sum += p3[k] * f[3 * c + k] + p4[k] * f[4 * c + k] + p5[k] * f[5 * c + k];
        sum += p6[k] * f[6 * c + k] + p7[k] * f[7 * c + k] + p8[k] * f[8 * c + k];
        to[k] = sum * scale[k] * within(a[k]) * leak(a[k] < zero);
    }
}

static void block_end(const void *context, int y, int x, int count)
{
    const Rows *rows = context;
    const Backward *b = rows->b;
    const LvcLayer *l = &b->s->layer->is;
    int c = padded(l->outputs);
    Buffers u = buffers_of(rows, 0, l->outputs);
    for (int i = 0; i < count; i++) {
        float *v = u.v + (size_t)i * u.stride;
        const float *from[9];
        for (int tap = 0; tap < 9; tap++)
            from[tap] = middle_at(b, y + tap / 3 - 1, x + i + tap % 3 - 1);
        filter_back(b->back, l->block_zero[0], from, first_at(b, y, x + i), v, c);
    }
    multiply_back(b, PART_A, &u, count);
    float *to = slope_row(b, l->source[0], y, x);
    const float *through = slope_row(b, l->out, y, x);
    for (int n = 0; n < count * c; n++)
        to[n] += through[n];
    add_to_source(b, 0, y, x, count, &u);
}

/* Layers, in bands of rows */

static void chunks_back(const void *context, int y, int x, int count)
{
    static const RunFunction steps[] = {simple_back, block_start, block_middle, block_end};
    const Rows *rows = context;
    for (int n; count > 0; x += n, count -= n) {
        n = count < CHUNK ? count : CHUNK;
        steps[rows->b->step](rows, y, x, n);
    }
}

static void back_band(void *context, int task, int worker)
{
    const Backward *b = context;
    const State *s = b->s;
    int top = (int)((int64_t)s->rows * task / s->bands), bottom = (int)((int64_t)s->rows * (task + 1) / s->bands);
    const uint8_t *mask = s->mask && (b->step == 1 || b->step == 3) ? b->around : s->mask;
    Rows rows = {b, b->scratch + (size_t)worker * b->scratch_bytes};
    for (int y = top; y < bottom; y++)
        each_run(mask ? mask + (size_t)y * s->columns : NULL, s->columns, y, chunks_back, &rows);
}

