/* Detail: what the networks leave of a frame, coded as a DCT of 8x8 samples with adaptive contexts. It lets quality rise
   until nothing is lost. detail_reference.py is the readable version. */
#include "detail.h"
#include "detail_start.h"

#include <stdlib.h>
#include <string.h>

enum { SIDE = 8, COEFFICIENTS = 64, PARTS = 6, SAMPLE_MAX = 4095 };
enum { CLASSES = 10, DIAGONALS = 4, UNARY = 8 };

static const uint8_t zigzag[COEFFICIENTS] = {
    0,  1,  8,  16, 9,  2,  3,  10, 17, 24, 32, 25, 18, 11, 4,  5,  12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6,  7,  14, 21, 28,
    35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54, 47, 55, 62, 63};
/* Of the sum of absolute neighbours. */
static const uint8_t class_of[26] = {0, 1, 2, 3, 4, 5, 5, 6, 6, 6, 7, 7, 7, 7, 7, 8, 8, 8, 8, 8, 8, 8, 8, 8, 8, 9};
/* HEVC's 8-point transform, rows are frequencies. */
static const int8_t dct[SIDE][SIDE] = {
    {64, 64, 64, 64, 64, 64, 64, 64},     {89, 75, 50, 18, -18, -50, -75, -89}, {83, 36, -36, -83, -83, -36, 36, 83},
    {75, -18, -89, -50, 50, 89, 18, -75}, {64, -64, -64, 64, 64, -64, -64, 64}, {50, -89, 18, 75, -75, -18, 89, -50},
    {36, -83, 83, -36, -36, 83, -83, 36}, {18, -50, 75, -89, 89, -75, 50, -18}};

typedef struct {
    RansBit coded[2][3];
    RansBit end[2][6];
    RansBit nonzero[2][DIAGONALS][CLASSES];
    RansBit greater[2][UNARY][CLASSES];
} Contexts;

static void start(Contexts *c)
{
    RansBit *bit = &c->coded[0][0];
    for (size_t i = 0; i < sizeof *c / sizeof *bit; i++)
        bit[i] = (RansBit){LVC_DETAIL_START[i], LVC_DETAIL_START[i], 0};
}

static int clamp(int v, int low, int high) { return v < low ? low : v > high ? high : v; }
static int size_of(int v) { return v < 0 ? -v : v; }

/* The step of quantisation of a frame's quality, in 12-bit samples: it halves every 16 qualities. */
static int32_t step_of(int32_t quality)
{
    static const uint16_t first[16] = {2969, 2843, 2723, 2607, 2497, 2391, 2289, 2192, 2099, 2010, 1925, 1844, 1765, 1691, 1619, 1550};
    return first[quality & 15] >> (quality >> 4);
}

/* Codes the levels of one 8x8 block [v][u] that are not all 0, from the last in the zigzag order to the first. */
static void code_levels(Rans *r, Contexts *c, int kind, int16_t *levels)
{
    uint16_t sizes[SIDE + 2][SIDE + 2] = {{0}}; /* absolute levels, with a border of zeros */
    int last = 0, class = 0, base = 1;
    if (r->reading)
        memset(levels, 0, COEFFICIENTS * sizeof *levels);
    else
        for (int i = 0; i < COEFFICIENTS; i++)
            last = levels[zigzag[i]] ? i : last;
    while (class < 6 && rans_code_bit(r, &c->end[kind][class], last >= base)) {
        class++;
        base *= 2;
    }
    last = class ? base / 2 + (int)rans_code_raw(r, class - 1, (uint32_t)(last - base / 2)) : 0;
    for (int i = last; i >= 0; i--) {
        int at = zigzag[i], v = at >> 3, u = at & 7;
        int sum = sizes[v][u + 1] + sizes[v][u + 2] + sizes[v + 1][u] + sizes[v + 2][u] + sizes[v + 1][u + 1];
        int near = class_of[sum < 25 ? sum : 25], diagonal = u + v == 0 ? 0 : u + v < 3 ? 1 : u + v < 7 ? 2 : 3;
        int size = size_of(levels[at]);
        if (i < last && !rans_code_bit(r, &c->nonzero[kind][diagonal][near], size))
            continue;
        int made = 1;
        while (made <= UNARY && rans_code_bit(r, &c->greater[kind][made - 1][near], size > made))
            made++;
        if (made > UNARY)
            made += (int)rans_code_golomb(r, near < CLASSES - 1 ? 0 : 3, (uint32_t)(size - made));
        made = made < 32767 ? made : 32767;
        sizes[v][u] = (uint16_t)made;
        levels[at] = (int16_t)(rans_code_raw(r, 1, levels[at] < 0) ? -made : made);
    }
}

/* Adds the inverse transform of levels times `step` to 8x8 samples. */
static void add_block(const int16_t *levels, int32_t step, int16_t *at, ptrdiff_t stride)
{
    int32_t columns[SIDE][SIDE];
    for (int u = 0; u < SIDE; u++) {
        int32_t c[SIDE];
        for (int v = 0; v < SIDE; v++)
            c[v] = clamp(levels[v * SIDE + u] * step, -32768, 32767);
        for (int y = 0; y < SIDE; y++) {
            int32_t sum = 64;
            for (int v = 0; v < SIDE; v++)
                sum += dct[v][y] * c[v];
            columns[y][u] = clamp(sum >> 7, -32768, 32767);
        }
    }
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int32_t sum = 128;
            for (int u = 0; u < SIDE; u++)
                sum += dct[u][x] * columns[y][u];
            at[y * stride + x] = (int16_t)clamp(at[y * stride + x] + (sum >> 8), 0, SAMPLE_MAX);
        }
}

/* The 8x8 block of part 0 to 5 of a block of 16x16 luma samples: four of luma, one of each chroma plane. */
static int16_t *part_of(int16_t *luma, int16_t *chroma, int32_t rows, int32_t columns, int y, int x, int part, ptrdiff_t *stride)
{
    *stride = part < 4 ? 16 * (ptrdiff_t)columns : 8 * (ptrdiff_t)columns;
    if (part < 4)
        return luma + (16 * y + part / 2 * SIDE) * *stride + 16 * x + part % 2 * SIDE;
    return chroma + (part - 4) * 64 * (ptrdiff_t)rows * columns + SIDE * y * *stride + SIDE * x;
}

/* Codes the detail of a frame of [rows, columns] blocks of 16x16 and adds it to the frame's planes. `levels` int16
   [rows, columns, 6, 64], or NULL for none, or for a reader that does not want them. `r` NULL: `levels` are only added. Returns 0
   where memory ran out. Reading ends with the stream, so that its bytes bound the work: the caller will find it damaged. */
LVC_API int lvc_detail(Rans *r, int32_t rows, int32_t columns, int32_t quality, int16_t *levels, int16_t *luma, int16_t *chroma)
{
    int16_t own[COEFFICIENTS];
    int32_t step = step_of(quality);
    size_t blocks = (size_t)rows * (size_t)columns;
    /* whether each 8x8 block is coded: luma, then each chroma plane, with a row and column of zeros before them */
    size_t wide = 2 * (size_t)columns + 1, small = (size_t)columns + 1, luma_size = wide * (2 * (size_t)rows + 1);
    size_t chroma_size = small * ((size_t)rows + 1);
    Contexts contexts;
    int any = 0, reading = r && r->reading;
    for (size_t i = 0; !any && levels && !reading && i < blocks * PARTS * COEFFICIENTS; i++)
        any = levels[i] != 0;
    if (r)
        any = (int)rans_code_raw(r, 1, (uint32_t)any);
    if (levels && reading)
        memset(levels, 0, blocks * PARTS * COEFFICIENTS * sizeof *levels);
    if (!any)
        return 1;
    uint8_t *coded = calloc(luma_size + 2 * chroma_size, 1);
    if (coded == NULL)
        return 0;
    start(&contexts);
    for (int y = 0; y < rows && !(reading && r->over); y++)
        for (int x = 0; x < columns && !(reading && r->over); x++)
            for (int part = 0; part < PARTS; part++) {
                int kind = part >= 4;
                size_t across = kind ? small : wide;
                uint8_t *flag = kind ? coded + luma_size + (size_t)(part - 4) * chroma_size + ((size_t)y + 1) * small + (size_t)x + 1
                                     : coded + (2 * (size_t)y + (size_t)part / 2 + 1) * wide + 2 * (size_t)x + (size_t)part % 2 + 1;
                int16_t *l = levels ? levels + (((size_t)y * (size_t)columns + (size_t)x) * PARTS + (size_t)part) * COEFFICIENTS : own;
                int filled = 0;
                for (int i = 0; i < COEFFICIENTS && !reading; i++)
                    filled |= l[i] != 0;
                if (r)
                    filled = rans_code_bit(r, &contexts.coded[kind][flag[-1] + flag[-(ptrdiff_t)across]], filled);
                *flag = (uint8_t)filled;
                if (!filled)
                    continue;
                if (r)
                    code_levels(r, &contexts, kind, l);
                ptrdiff_t stride;
                int16_t *at = part_of(luma, chroma, rows, columns, y, x, part, &stride);
                add_block(l, step, at, stride);
            }
    free(coded);
    return 1;
}

/* ---- for the encoder; not part of the format ---- */

/* About what a block costs, each of its levels, and each doubling of a level's size. */
#define BLOCK_BITS 13.0f
#define LEVEL_BITS 4.0f
#define DOUBLING_BITS 1.6f

/* Chooses the levels of a frame: `luma` and `chroma` are what was coded of the source so far. A level is cut off after
   `rounding` steps are added; an 8x8 block keeps its levels if they save more than they cost. `worth`: bits that a
   squared error of 1 is worth. Returns how many blocks have levels. */
LVC_API int32_t lvc_detail_find(const int16_t *source_luma, const int16_t *source_chroma, int16_t *luma, int16_t *chroma, int32_t rows,
                                int32_t columns, int32_t quality, float worth, float rounding, int16_t *levels)
{
    static const float one = 1.0f / 512; /* of two passes of the transform */
    const float step = (float)step_of(quality);
    int32_t found = 0;
    memset(levels, 0, (size_t)rows * (size_t)columns * PARTS * COEFFICIENTS * sizeof *levels);
    for (int y = 0; y < rows; y++)
        for (int x = 0; x < columns; x++)
            for (int part = 0; part < PARTS; part++) {
                ptrdiff_t stride;
                const int16_t *now = part_of(luma, chroma, rows, columns, y, x, part, &stride);
                const int16_t *want = part_of((int16_t *)source_luma, (int16_t *)source_chroma, rows, columns, y, x, part, &stride);
                int16_t *l = levels + (((size_t)y * (size_t)columns + (size_t)x) * PARTS + (size_t)part) * COEFFICIENTS;
                float missed[SIDE][SIDE], first[SIDE][SIDE], energy = 0, gain = 0, bits = BLOCK_BITS;
                for (int i = 0; i < SIDE; i++)
                    for (int j = 0; j < SIDE; j++) {
                        missed[i][j] = (float)(want[i * stride + j] - now[i * stride + j]);
                        energy += missed[i][j] * missed[i][j];
                    }
                float weight = worth * (part < 4 ? 0.75f : 1.0f);
                if (energy * weight < BLOCK_BITS + LEVEL_BITS)
                    continue;
                for (int i = 0; i < SIDE; i++)
                    for (int u = 0; u < SIDE; u++) {
                        float sum = 0;
                        for (int j = 0; j < SIDE; j++)
                            sum += (float)dct[u][j] * missed[i][j];
                        first[i][u] = sum;
                    }
                for (int v = 0; v < SIDE; v++)
                    for (int u = 0; u < SIDE; u++) {
                        float sum = 0;
                        for (int i = 0; i < SIDE; i++)
                            sum += (float)dct[v][i] * first[i][u];
                        sum *= one / 64;
                        float size = sum < 0 ? -sum : sum;
                        int level = (int)(size / step + rounding);
                        if (level == 0)
                            continue;
                        float left = size - (float)level * step;
                        gain += size * size - left * left;
                        bits += LEVEL_BITS;
                        for (int k = level; k > 1; k >>= 1)
                            bits += DOUBLING_BITS;
                        l[v * SIDE + u] = (int16_t)(sum < 0 ? -level : level);
                    }
                if (gain * weight > bits)
                    found++;
                else
                    memset(l, 0, COEFFICIENTS * sizeof *l);
            }
    return found;
}
