/* The vector loops of kernels.h. The file of an instruction set includes this after defining

   V, LANES                 a vector of int32 and its length
   W                        a vector of 2 * LANES int16
   TILE, TILE_GROUPS        pixels and groups of channels computed at once
   TILE_VECTORS             vectors of each pixel's sums held in registers, if not all
   vload, vstore32...       see kernels_avx2.c, the simplest

   and the functions used below. Everything is static, because each instruction set has its own copy. */

#define VECTORS (GROUP / LANES)  /* int32 vectors per group */
#define HALVES (VECTORS / 2)     /* int16 vectors per group */
#ifndef TILE_VECTORS
#define TILE_VECTORS (TILE_GROUPS * VECTORS)
#endif

/* Sums stay in registers only if the loops over them are unrolled. */
#if defined(__clang__)
#define UNROLLED _Pragma("unroll")
#else
#define UNROLLED _Pragma("GCC unroll 32")
#endif
#define INLINE static inline __attribute__((always_inline))

/* Shifts one group of sums of one pixel and applies the output stage. `at` is its first channel. */
INLINE void finish(const int32_t *sum, const int32_t *shift, const Stage *s, int pixel, int at)
{
    W v[HALVES];
    UNROLLED
    for (int h = 0; h < HALVES; h++)
        v[h] = narrow(shift_right(load32(sum + 2 * h * LANES), load32(shift + at + 2 * h * LANES)),
                      shift_right(load32(sum + (2 * h + 1) * LANES), load32(shift + at + (2 * h + 1) * LANES)));
    if (s->leaky)
        UNROLLED
        for (int h = 0; h < HALVES; h++)
            v[h] = max16(v[h], shift16(v[h], 3));
    switch (s->kind) {
    case STAGE_GATE: {
        W u[HALVES];
        load_s8(s->gate + pixel * s->gate_stride + at, u);
        W half = set16(s->gate_shift ? 1 << (s->gate_shift - 1) : 0);
        UNROLLED
        for (int h = 0; h < HALVES; h++) {
            v[h] = min16(max16(v[h], set16(-128)), set16(127));
            v[h] = shift16(add16(mul16(v[h], u[h]), half), s->gate_shift);
        }
    } /* fall through */
    case STAGE_U7:
        UNROLLED
        for (int h = 0; h < HALVES; h++)
            v[h] = min16(max16(add16(v[h], set16(s->zero)), set16(0)), set16(s->high));
        store_low((uint8_t *)s->out + pixel * s->out_stride + at, v);
        break;
    case STAGE_S8:
        UNROLLED
        for (int h = 0; h < HALVES; h++)
            v[h] = min16(max16(v[h], set16(-128)), set16(127));
        store_low((uint8_t *)s->out + pixel * s->out_stride + at, v);
        break;
    case STAGE_ADD:
        UNROLLED
        for (int h = 0; h < HALVES; h++)
            v[h] = add16(v[h], load16(s->add + pixel * s->add_stride + at + 2 * h * LANES));
    /* fall through */
    default:
        UNROLLED
        for (int h = 0; h < HALVES; h++)
            store16((int16_t *)s->out + pixel * s->out_stride + at + 2 * h * LANES, v[h]);
    }
}

/* Computes `pixels` x `groups` sums in registers. `wide`: inputs are pairs of int16 instead of four bytes.
   Indices are written out because gcc keeps an array in registers only if no loop runs over it. */
#define EACH_PIXEL(DO, v) DO(0, v) DO(1, v) DO(2, v) DO(3, v) DO(4, v) DO(5, v)
#define EACH_VECTOR(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7)

#define START(p, v) if (p < pixels) sum[p][v] = bias;
#define STARTS(v) if (v < held) { V bias = load32(m->bias + group * GROUP + (part + v) * LANES); EACH_PIXEL(START, v) }
#define INPUT(p, v) if (p < pixels) in[p] = broadcast(x + p * stride + 4 * k);
#define DOT(p, v) if (p < pixels) sum[p][v] = wide ? dot16(sum[p][v], in[p], weight) : dot8(sum[p][v], in[p], weight);
#define DOTS(v) if (v < held) { V weight = load32(WEIGHT(v)); EACH_PIXEL(DOT, v) }
#define WEIGHT(v) ((const int32_t *)(const void *)(w + (part + v) / VECTORS * next_group + (part + v) % VECTORS * LANES * 4))
#define KEEP(p, v) if (p < pixels) store32(kept + (p * vectors + part + v) * LANES, sum[p][v]);
#define KEEPS(v) if (v < held) { EACH_PIXEL(KEEP, v) }

INLINE void tile(const int pixels, const int groups, const int wide, const Matrix *m, const uint8_t *x,
                 ptrdiff_t stride, int group, int pixel, const Stage *stage)
{
    V sum[6][8], in[6];
    const int vectors = groups * VECTORS, held = vectors < TILE_VECTORS ? vectors : TILE_VECTORS; /* a divisor */
    const ptrdiff_t next_group = (ptrdiff_t)m->steps * GROUP * 4;
    _Alignas(64) int32_t kept[TILE * TILE_GROUPS * GROUP];
    x += pixel * stride;
    UNROLLED
    for (int part = 0; part < vectors; part += held) {
        const uint8_t *w = (const uint8_t *)m->weights + group * next_group;
        EACH_VECTOR(STARTS)
        for (int k = 0; k < m->steps; k++, w += GROUP * 4) {
            EACH_PIXEL(INPUT, 0)
            EACH_VECTOR(DOTS)
        }
        EACH_VECTOR(KEEPS)
    }
    for (int p = 0; p < pixels; p++)
        for (int g = 0; g < groups; g++)
            finish(kept + (p * groups + g) * GROUP, m->shift, stage, pixel + p, (group + g) * GROUP);
}

/* Constant arguments unroll the loops: `tile` becomes four straight-line variants. */
INLINE void product(const int wide, const Matrix *m, const uint8_t *x, ptrdiff_t stride, int count,
                    const Stage *stage)
{
    int group = 0;
    for (; group + TILE_GROUPS <= m->groups; group += TILE_GROUPS) {
        int pixel = 0;
        for (; pixel + TILE <= count; pixel += TILE)
            tile(TILE, TILE_GROUPS, wide, m, x, stride, group, pixel, stage);
        for (; pixel < count; pixel++)
            tile(1, TILE_GROUPS, wide, m, x, stride, group, pixel, stage);
    }
#if TILE_GROUPS > 1
    for (; group < m->groups; group++) {
        int pixel = 0;
        for (; pixel + TILE <= count; pixel += TILE)
            tile(TILE, 1, wide, m, x, stride, group, pixel, stage);
        for (; pixel < count; pixel++)
            tile(1, 1, wide, m, x, stride, group, pixel, stage);
    }
#endif
}

static void matrix(const Matrix *m, const uint8_t *x, ptrdiff_t stride, int count, const Stage *stage)
{
    product(0, m, x, stride, count, stage);
}

static void matrix16(const Matrix *m, const int16_t *x, ptrdiff_t stride, int count, const Stage *stage)
{
    product(1, m, (const uint8_t *)x, 2 * stride, count, stage);
}

/* Goes column by column: bytes of three rows and a zero form one operand of `dot8`, which three outputs use. */
static void depthwise(const Depthwise *d, const uint8_t *const rows[3], ptrdiff_t stride, int count,
                      const Stage *stage)
{
    for (int group = 0; group < d->groups; group++) {
        V weight[3][VECTORS], bias[VECTORS], column[3][VECTORS];
        int at = group * GROUP;
        UNROLLED
        for (int c = 0; c < 3; c++)
            UNROLLED
            for (int v = 0; v < VECTORS; v++)
                weight[c][v] = load32((const int32_t *)(const void *)d->weights + (3 * group + c) * GROUP + v * LANES);
        UNROLLED
        for (int v = 0; v < VECTORS; v++)
            bias[v] = load32(d->bias + at + v * LANES);
        const uint8_t *above = rows[0] + at, *here = rows[1] + at, *below = rows[2] + at;
        UNROLLED
        for (int c = 0; c < 2; c++)
            interleave(above + c * stride, here + c * stride, below + c * stride, column[c]);
        for (int pixel = 0; pixel < count; pixel++) {
            ptrdiff_t right = (pixel + 2) * stride;
            interleave(above + right, here + right, below + right, column[2]);
            V sum[VECTORS];
            _Alignas(64) int32_t kept[GROUP];
            UNROLLED
            for (int v = 0; v < VECTORS; v++) {
                sum[v] = dot8(bias[v], column[0][v], weight[0][v]);
                sum[v] = dot8(sum[v], column[1][v], weight[1][v]);
                sum[v] = dot8(sum[v], column[2][v], weight[2][v]);
                column[0][v] = column[1][v];
                column[1][v] = column[2][v];
                store32(kept + v * LANES, sum[v]);
            }
            finish(kept, d->shift, stage, pixel, at);
        }
    }
}

/* The sum may saturate at int16, but the clamp hides that: with shift <= 8 at least 127 is left. */
static void quantise(const int16_t *t, ptrdiff_t t_stride, uint8_t *x, ptrdiff_t x_stride, int count, int channels,
                     int shift, int zero)
{
    W half = set16(shift ? 1 << (shift - 1) : 0), offset = set16(zero), low = set16(0), high = set16(127);
    for (int pixel = 0; pixel < count; pixel++, t += t_stride, x += x_stride)
        for (int at = 0; at < channels; at += GROUP) {
            W v[HALVES];
            UNROLLED
            for (int h = 0; h < HALVES; h++) {
                v[h] = shift16(add16(load16(t + at + 2 * h * LANES), half), shift);
                v[h] = min16(max16(add16(v[h], offset), low), high);
            }
            store_low(x + at, v);
        }
}
