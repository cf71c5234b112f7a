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

static void patch_row(void *context, int row, int worker)
{
    (void)worker;
    const Planes *p = context;
    ptrdiff_t width = 8 * (ptrdiff_t)p->columns, plane = 4 * (ptrdiff_t)p->rows * 4 * p->columns;
    for (int column = 0; column < p->columns; column++) {
        int16_t *to = p->patches + ((ptrdiff_t)row * p->columns + column) * PATCH;
        for (int i = 0; i < 8; i++)
            for (int j = 0; j < 8; j++)
                *to++ = saturated(p->from_luma[(8 * row + i) * width + 8 * column + j] - p->offset);
        for (int c = 0; c < 2; c++)
            for (int i = 0; i < 4; i++)
                for (int j = 0; j < 4; j++)
                    *to++ = saturated(p->from_chroma[c * plane + (4 * row + i) * (width / 2) + 4 * column + j] -
                                      p->offset);
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
static void restore(const Planes *p, int row, int side, const int16_t *from, int16_t *to, int first)
{
    ptrdiff_t width = (ptrdiff_t)side * p->columns;
    int half = p->shift ? 1 << (p->shift - 1) : 0;
    for (int column = 0; column < p->columns; column++) {
        const int16_t *residual = p->residual + ((ptrdiff_t)row * p->columns + column) * PATCH + first;
        int wanted = p->wanted == NULL || p->wanted[(ptrdiff_t)(row / 2) * (p->columns / 2) + column / 2];
        for (int i = 0; i < side; i++) {
            ptrdiff_t at = (row * side + i) * width + (ptrdiff_t)side * column;
            for (int j = 0; j < side; j++) {
                int v = from ? from[at + j] : 0;
                if (wanted && p->raw)
                    v = residual[side * i + j];
                else if (wanted)
                    v = clamp(v + p->offset + ((residual[side * i + j] + half) >> p->shift), 0, SAMPLE_MAX);
                to[at + j] = (int16_t)v;
            }
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
