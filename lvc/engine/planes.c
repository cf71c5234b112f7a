/* Conversion between the planes of a 4:2:0 picture and patches of 8x8 luma samples; the lapping filter across block
   borders. A patch has 96 channels: 64 luma samples row by row, 16 of the first chroma plane, 16 of the second. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "cpu.h"
#include "pool.h"

#define PATCH 96
#define SAMPLE_MAX 4095 /* 12 bits */

typedef struct {
    int rows, columns; /* of patches */
    const int16_t *from_luma, *from_chroma;
    int16_t *luma, *chroma, *patches;
    const int16_t *residual;
    const uint8_t *wanted;
    int offset, shift, raw;
} Planes;

static int clamp(int v, int low, int high)
{
    return v < low ? low : v > high ? high : v;
}

static int16_t saturated(int v)
{
    return (int16_t)clamp(v, -32768, 32767);
}

static inline void line_of(int16_t *restrict to, const int16_t *restrict from, int count, int offset)
{
    VECTORISED
    for (int j = 0; j < count; j++)
        to[j] = saturated(from[j] - offset);
}

static void patch_row(void *context, int row, int worker)
{
    (void)worker;
    const Planes *p = context;
    ptrdiff_t width = 8 * (ptrdiff_t)p->columns, plane = 4 * (ptrdiff_t)p->rows * 4 * p->columns;
    for (int column = 0; column < p->columns; column++) {
        int16_t *to = p->patches + ((ptrdiff_t)row * p->columns + column) * PATCH;
        for (int i = 0; i < 8; i++, to += 8)
            line_of(to, p->from_luma + (8 * row + i) * width + 8 * column, 8, p->offset);
        for (int c = 0; c < 2; c++)
            for (int i = 0; i < 4; i++, to += 4)
                line_of(to, p->from_chroma + c * plane + (4 * row + i) * (width / 2) + 4 * column, 4, p->offset);
    }
}

/* `luma` [8 rows, 8 columns], `chroma` [2, 4 rows, 4 columns] -> patches [rows, columns, 96], less `offset`. */
LVC_API void lvc_planes_to_patches(const int16_t *luma, const int16_t *chroma, int rows, int columns, int offset,
                                   int16_t *patches)
{
    Planes p = {.rows = rows, .columns = columns, .from_luma = luma, .from_chroma = chroma, .patches = patches};
    p.offset = offset;
    pool_run(patch_row, &p, rows);
}

/* Writes one plane of a row of patches. */
static inline void restore(const Planes *p, int row, const int side, const int16_t *from, int16_t *to, int first)
{
    static const int16_t zeros[8];
    ptrdiff_t width = (ptrdiff_t)side * p->columns;
    int half = p->shift ? 1 << (p->shift - 1) : 0, offset = p->offset, shift = p->shift;
    for (int column = 0; column < p->columns; column++) {
        const int16_t *residual = p->residual + ((ptrdiff_t)row * p->columns + column) * PATCH + first;
        int wanted = p->wanted == NULL || p->wanted[(ptrdiff_t)(row / 2) * (p->columns / 2) + column / 2];
        for (int i = 0; i < side; i++, residual += side) {
            ptrdiff_t at = (row * side + i) * width + (ptrdiff_t)side * column;
            const int16_t *before = from ? from + at : zeros, *as_is = wanted ? residual : before;
            if (!wanted || p->raw) {
                if (as_is != to + at)
                    memcpy(to + at, as_is, (size_t)side * sizeof *to);
                continue;
            }
            VECTORISED
            for (int j = 0; j < side; j++)
                to[at + j] = (int16_t)clamp(before[j] + offset + ((residual[j] + half) >> shift), 0, SAMPLE_MAX);
        }
    }
}

static void plane_row(void *context, int row, int worker)
{
    (void)worker;
    const Planes *p = context;
    ptrdiff_t plane = 4 * (ptrdiff_t)p->rows * 4 * p->columns;
    restore(p, row, 8, p->from_luma, p->luma, 0);
    for (int c = 0; c < 2; c++)
        restore(p, row, 4, p->from_chroma ? p->from_chroma + c * plane : NULL, p->chroma + c * plane, 64 + 16 * c);
}

/* Patches [rows, columns, 96] -> planes, values unchanged. */
LVC_API void lvc_patches_apart(const int16_t *patches, int rows, int columns, int16_t *luma, int16_t *chroma)
{
    Planes p = {.rows = rows, .columns = columns, .luma = luma, .chroma = chroma, .residual = patches, .raw = 1};
    pool_run(plane_row, &p, rows);
}

/* In place: clamp(offset + ((v + half) >> shift), 0, 4095). */
LVC_API void lvc_samples(int16_t *values, int64_t count, int shift, int offset)
{
    int half = shift ? 1 << (shift - 1) : 0;
    for (int64_t i = 0; i < count; i++)
        values[i] = (int16_t)clamp(offset + ((values[i] + half) >> shift), 0, SAMPLE_MAX);
}

/* clamp(prediction + offset + ((residual + half) >> shift), 0, 4095), with 0 for a NULL prediction. Blocks of 2x2
   patches that are not `wanted` (NULL: all are) keep the prediction bit for bit. */
LVC_API void lvc_patches_to_planes(const int16_t *residual, int rows, int columns, int shift, int offset,
                                   const int16_t *luma_prediction, const int16_t *chroma_prediction,
                                   const uint8_t *wanted, int16_t *luma, int16_t *chroma)
{
    Planes p = {.rows = rows, .columns = columns, .from_luma = luma_prediction, .from_chroma = chroma_prediction};
    p.luma = luma;
    p.chroma = chroma;
    p.residual = residual;
    p.wanted = wanted;
    p.shift = shift;
    p.offset = offset;
    pool_run(plane_row, &p, rows);
}

/* Lapping: the 2 * half samples around every border between blocks are multiplied by a matrix, first along rows, then
   along columns; the outer `half` samples of the picture are unchanged. */

#define LAP_MAX 16
#define LAP_BITS 14 /* the matrix's fraction */

typedef struct {
    int16_t *plane;
    int rows, columns, half;
    const int16_t *matrix; /* [2 half, 2 half]: out[j] = sum of in[k] * matrix[k][j] */
} Lap;

static int16_t lapped(int32_t sum)
{
    return saturated((sum + (1 << (LAP_BITS - 1))) >> LAP_BITS);
}

static void lap_row(void *context, int row, int worker)
{
    (void)worker;
    const Lap *l = context;
    int n = 2 * l->half;
    int16_t *line = l->plane + (ptrdiff_t)row * l->columns;
    for (int x = l->half; x + n <= l->columns - l->half; x += n) {
        int32_t sum[LAP_MAX] = {0};
        for (int k = 0; k < n; k++)
            for (int j = 0; j < n; j++)
                sum[j] += line[x + k] * l->matrix[k * n + j];
        for (int j = 0; j < n; j++)
            line[x + j] = lapped(sum[j]);
    }
}

/* Filters one border between rows of blocks, in strips of columns. */
static void lap_border(void *context, int border, int worker)
{
    (void)worker;
    enum { STRIP = 64 };
    const Lap *l = context;
    int n = 2 * l->half;
    int16_t *top = l->plane + (ptrdiff_t)(l->half + border * n) * l->columns;
    for (int x = 0; x < l->columns; x += STRIP) {
        int width = l->columns - x < STRIP ? l->columns - x : STRIP;
        int32_t sum[LAP_MAX][STRIP];
        memset(sum, 0, sizeof sum);
        for (int j = 0; j < n; j++)
            for (int k = 0; k < n; k++) {
                const int16_t *from = top + (ptrdiff_t)k * l->columns + x;
                int32_t m = l->matrix[k * n + j];
                for (int i = 0; i < width; i++)
                    sum[j][i] += from[i] * m;
            }
        for (int j = 0; j < n; j++)
            for (int i = 0; i < width; i++)
                top[(ptrdiff_t)j * l->columns + x + i] = lapped(sum[j][i]);
    }
}

/* Laps a plane in place. Rows and columns are multiples of 2 * half; half is 4 or 8. The sum of a column's absolute
   weights times the largest absolute sample must be below 2^31. */
LVC_API void lvc_lap(int16_t *plane, int rows, int columns, int half, const int16_t *matrix)
{
    Lap l = {plane, rows, columns, half, matrix};
    pool_run(lap_row, &l, rows);
    pool_run(lap_border, &l, rows / (2 * half) - 1);
}

static int size_of(int v)
{
    return v < 0 ? -v : v;
}

/* Deblocking, along the lines of HEVC's: `at` is the first sample after the edge, `step` leads across it. */
static void deblock_luma(int16_t *at, ptrdiff_t step, int t)
{
    int p3 = at[-4 * step], p2 = at[-3 * step], p1 = at[-2 * step], p0 = at[-step];
    int q0 = at[0], q1 = at[step], q2 = at[2 * step], q3 = at[3 * step];
    int bend_p = size_of(p2 - 2 * p1 + p0), bend_q = size_of(q2 - 2 * q1 + q0), bend = bend_p + bend_q;
    if (bend >= 4 * t)
        return;
    if (bend < t && size_of(p3 - p0) + size_of(q0 - q3) < t && 2 * size_of(p0 - q0) < 5 * t) {
        at[-3 * step] = (int16_t)clamp((2 * p3 + 3 * p2 + p1 + p0 + q0 + 4) >> 3, p2 - 2 * t, p2 + 2 * t);
        at[-2 * step] = (int16_t)clamp((p2 + p1 + p0 + q0 + 2) >> 2, p1 - 2 * t, p1 + 2 * t);
        at[-step] = (int16_t)clamp((p2 + 2 * p1 + 2 * p0 + 2 * q0 + q1 + 4) >> 3, p0 - 2 * t, p0 + 2 * t);
        at[0] = (int16_t)clamp((p1 + 2 * p0 + 2 * q0 + 2 * q1 + q2 + 4) >> 3, q0 - 2 * t, q0 + 2 * t);
        at[step] = (int16_t)clamp((p0 + q0 + q1 + q2 + 2) >> 2, q1 - 2 * t, q1 + 2 * t);
        at[2 * step] = (int16_t)clamp((p0 + q0 + q1 + 3 * q2 + 2 * q3 + 4) >> 3, q2 - 2 * t, q2 + 2 * t);
        return;
    }
    int d = (9 * (q0 - p0) - 3 * (q1 - p1) + 8) >> 4;
    if (size_of(d) >= 10 * t)
        return;
    d = clamp(d, -t, t);
    at[-step] = (int16_t)clamp(p0 + d, 0, SAMPLE_MAX);
    at[0] = (int16_t)clamp(q0 - d, 0, SAMPLE_MAX);
    if (2 * bend_p < 3 * t)
        at[-2 * step] = (int16_t)clamp(p1 + clamp((((p2 + p0 + 1) >> 1) - p1 + d) >> 1, -(t >> 1), t >> 1), 0, SAMPLE_MAX);
    if (2 * bend_q < 3 * t)
        at[step] = (int16_t)clamp(q1 + clamp((((q2 + q0 + 1) >> 1) - q1 - d) >> 1, -(t >> 1), t >> 1), 0, SAMPLE_MAX);
}

static void deblock_chroma(int16_t *at, ptrdiff_t step, int t)
{
    int p1 = at[-2 * step], p0 = at[-step], q0 = at[0], q1 = at[step];
    int d = clamp((4 * (q0 - p0) + p1 - q1 + 4) >> 3, -t, t);
    at[-step] = (int16_t)clamp(p0 + d, 0, SAMPLE_MAX);
    at[0] = (int16_t)clamp(q0 - d, 0, SAMPLE_MAX);
}

typedef struct {
    int16_t *luma, *chroma;
    const uint8_t *skip; /* [rows, columns]: a block is coded where it is 0 */
    int rows, columns;
    int down; /* edges lead across columns, otherwise across rows */
    int t;
} Deblock;

/* The edges of a plane, 8 samples apart, that lie in a row of blocks of `side` samples. */
static inline void deblock_plane(const Deblock *d, int16_t *plane, int row, const int side)
{
    ptrdiff_t width = (ptrdiff_t)side * d->columns, step = d->down ? width : 1, along = d->down ? 1 : width;
    for (int column = 0; column < d->columns; column++) {
        const uint8_t *skip = d->skip + (ptrdiff_t)row * d->columns + column;
        for (int edge = 0; edge < side; edge += 8) {
            if (edge == 0 && (d->down ? row : column) == 0)
                continue;
            if (*skip && (edge || skip[d->down ? -d->columns : -1]))
                continue;
            int16_t *at = plane + side * (row * width + column) + edge * step;
            for (int i = 0; i < side; i++, at += along) {
                if (side == 16)
                    deblock_luma(at, step, d->t);
                else
                    deblock_chroma(at, step, d->t);
            }
        }
    }
}

/* No edge reads what another of its direction changes, so that rows may be filtered in any order. */
static void deblock_row(void *context, int row, int worker)
{
    (void)worker;
    const Deblock *d = context;
    deblock_plane(d, d->luma, row, 16);
    for (int k = 0; k < 2; k++)
        deblock_plane(d, d->chroma + (ptrdiff_t)k * 64 * d->rows * d->columns, row, 8);
}

/* In place: edges every 8 samples of coded blocks of 16x16 luma samples, across rows and then down columns; chroma only
   at the blocks' own. `skip` [rows, columns] of blocks; `quality` 0 to 127. */
LVC_API void lvc_deblock(int16_t *luma, int16_t *chroma, const uint8_t *skip, int32_t rows, int32_t columns, int32_t quality)
{
    /* a tenth of a step of quantisation, which halves every 16 qualities */
    static const uint8_t first[16] = {245, 234, 224, 215, 206, 197, 189, 181, 173, 166, 159, 152, 145, 139, 133, 128};
    Deblock d = {luma, chroma, skip, rows, columns, 0, first[quality & 15] >> (quality >> 4)};
    for (d.down = 0; d.down < 2; d.down++)
        pool_run(deblock_row, &d, rows);
}

/* Squared errors of blocks of 2x2 patches [rows / 2, columns / 2] between a residual [rows, columns, 96] and `change` of
   it in eighths (NULL: none), luma weighing 3/4; in squared samples. */
LVC_API void lvc_block_errors(const int16_t *residual, const int16_t *change, int32_t rows, int32_t columns, float *out)
{
    for (int32_t y = 0; y < rows; y += 2)
        for (int32_t x = 0; x < columns; x += 2) {
            float total = 0;
            for (int k = 0; k < 4; k++) {
                size_t at = ((size_t)(y + (k >> 1)) * columns + x + (k & 1)) * PATCH;
                const int16_t *r = residual + at, *c = change ? change + at : NULL;
                float luma[16] = {0}, chroma[16] = {0};
                for (int i = 0; i < 64; i += 16)
                    for (int j = 0; j < 16; j++) {
                        float d = c ? (float)(r[i + j] * 8 - c[i + j]) : (float)(r[i + j] * 8);
                        luma[j] += d * d;
                    }
                for (int i = 64; i < PATCH; i += 16)
                    for (int j = 0; j < 16; j++) {
                        float d = c ? (float)(r[i + j] * 8 - c[i + j]) : (float)(r[i + j] * 8);
                        chroma[j] += d * d;
                    }
                for (int j = 0; j < 16; j++)
                    total += 0.75f * luma[j] + chroma[j];
            }
            out[(size_t)(y / 2) * (columns / 2) + x / 2] = total / 64;
        }
}

/* Adds another picture of the same scene to `sum` and `weight` [rows, columns]. A sample weighs its block's `share`
   times a Gaussian of its difference (to about 1 %: exp(-x) as (1 + x/8)^-8). The plane consists of whole blocks of
   `side` x `side` samples. */
LVC_API void lvc_blend(const int16_t *own, const int16_t *other, int32_t rows, int32_t columns, int32_t side,
                       const float *share, const float *falloff, float *sum, float *weight)
{
    for (int32_t y = 0; y < rows; y++)
        for (int32_t block = 0; block < columns / side; block++) {
            size_t at = (size_t)y * columns + block * side, of = (size_t)(y / side) * (columns / side) + block;
            float most = share[of], fall = falloff[of] / 8;
            for (int32_t x = 0; x < side; x++) {
                float d = (float)(own[at + x] - other[at + x]), near = 1 + d * d * fall;
                near *= near, near *= near, near *= near;
                sum[at + x] += most / near * (float)other[at + x];
                weight[at + x] += most / near;
            }
        }
}
