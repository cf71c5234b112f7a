/* Overlapped block motion compensation. Normative; motion_reference.py is the readable version. */

#include "motion.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#elif defined(__wasm_simd128__)
#include <wasm_simd128.h>
#endif

#define LARGEST 16           /* samples per row of a window: block and ramp are 12, computed 16 at a time */
#define LINES (12 + LVC_TAPS - 1)
#define RUN 8                /* blocks of equal motion predicted at once */
#define REACH (8 * RUN + 24) /* the most samples of a row that a run reads */

/* The parameters of luma or chroma; constants once inlined. */
typedef struct {
    int block, ramp, shift, taps, lead, lanes;
    const int16_t *filters;
} Kind;

typedef struct {
    const int16_t *at;
    int64_t stride;
} Samples;

#if defined(__SSE2__)
/* Eight outputs of a filter with an even number of `taps`, `step` samples apart; pmaddwd does two taps at a time. */
INLINE __m128i eight(const int16_t *p, int64_t step, const int16_t *f, int taps) {
    __m128i low = _mm_set1_epi32(32), high = low;
    for (int k = 0; k < taps; k += 2) {
        const __m128i a = _mm_loadu_si128((const __m128i *)(p + k * step));
        const __m128i b = _mm_loadu_si128((const __m128i *)(p + (k + 1) * step));
        const __m128i c = _mm_set1_epi32((int32_t)((uint32_t)(uint16_t)f[k] | (uint32_t)(uint16_t)f[k + 1] << 16));
        low = _mm_add_epi32(low, _mm_madd_epi16(_mm_unpacklo_epi16(a, b), c));
        high = _mm_add_epi32(high, _mm_madd_epi16(_mm_unpackhi_epi16(a, b), c));
    }
    return _mm_packs_epi32(_mm_srai_epi32(low, 6), _mm_srai_epi32(high, 6));
}
#elif defined(__wasm_simd128__)
INLINE v128_t eight(const int16_t *p, int64_t step, const int16_t *f, int taps) {
    v128_t low = wasm_i32x4_splat(32), high = low;
    for (int k = 0; k < taps; k += 2) {
        const v128_t a = wasm_v128_load(p + k * step), b = wasm_v128_load(p + (k + 1) * step);
        const v128_t c = wasm_u32x4_splat((uint32_t)(uint16_t)f[k] | (uint32_t)(uint16_t)f[k + 1] << 16);
        low = wasm_i32x4_add(low, wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(a, b, 0, 8, 1, 9, 2, 10, 3, 11), c));
        high = wasm_i32x4_add(high, wasm_i32x4_dot_i16x8(wasm_i16x8_shuffle(a, b, 4, 12, 5, 13, 6, 14, 7, 15), c));
    }
    return wasm_i16x8_narrow_i32x4(wasm_i32x4_shr(low, 6), wasm_i32x4_shr(high, 6));
}
#endif
#if defined(__AVX2__)
INLINE __m256i sixteen(const int16_t *p, int64_t step, const int16_t *f, int taps) {
    __m256i low = _mm256_set1_epi32(32), high = low;
    for (int k = 0; k < taps; k += 2) {
        const __m256i a = _mm256_loadu_si256((const __m256i *)(p + k * step));
        const __m256i b = _mm256_loadu_si256((const __m256i *)(p + (k + 1) * step));
        const __m256i c = _mm256_set1_epi32((int32_t)((uint32_t)(uint16_t)f[k] | (uint32_t)(uint16_t)f[k + 1] << 16));
        low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), c));
        high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), c));
    }
    return _mm256_packs_epi32(_mm256_srai_epi32(low, 6), _mm256_srai_epi32(high, 6));
}
#endif

/* Filters a line of `n` samples (a multiple of 8) with taps `step` samples apart, and rounds. `bound`: clamps to the
   range of samples. */
INLINE void filter_line(const int16_t *p, int64_t step, const int16_t *f, int taps, int n, int bound, int16_t *to) {
    int x = 0;
#if defined(__AVX2__)
    for (; x + 16 <= n; x += 16) {
        __m256i v = sixteen(p + x, step, f, taps);
        if (bound) v = _mm256_min_epi16(_mm256_max_epi16(v, _mm256_setzero_si256()), _mm256_set1_epi16(LVC_TOP));
        _mm256_storeu_si256((__m256i *)(to + x), v);
    }
#endif
#if defined(__SSE2__)
    for (; x + 8 <= n; x += 8) {
        __m128i v = eight(p + x, step, f, taps);
        if (bound) v = _mm_min_epi16(_mm_max_epi16(v, _mm_setzero_si128()), _mm_set1_epi16(LVC_TOP));
        _mm_storeu_si128((__m128i *)(to + x), v);
    }
#elif defined(__wasm_simd128__)
    for (; x + 8 <= n; x += 8) {
        v128_t v = eight(p + x, step, f, taps);
        if (bound) v = wasm_i16x8_min(wasm_i16x8_max(v, wasm_i16x8_splat(0)), wasm_i16x8_splat(LVC_TOP));
        wasm_v128_store(to + x, v);
    }
#endif
    for (; x < n; x++) {
        int32_t sum = 32;
        for (int k = 0; k < taps; k++) sum += f[k] * p[x + k * step];
        sum >>= 6;
        to[x] = (int16_t)(bound ? lvc_bounded(sum, 0, LVC_TOP) : sum);
    }
}

/* Interpolates `lines` x `n` samples (n a multiple of 8) of a plane at (y, x), displaced by a vector, to `out` with
   stride `out_stride`. Edge samples are repeated outside the plane. */
INLINE void moved(Kind k, const int16_t *plane, int64_t height, int64_t width, int64_t y, int64_t x, int vx, int vy,
                  int lines, int n, int16_t *out, int64_t out_stride) {
    int16_t edge[LINES * REACH], across[LINES * REACH];
    const int mask = (1 << k.shift) - 1, fx = vx & mask, fy = vy & mask;
    const int high = lines + k.taps - 1, wide = n + k.taps - 1;
    y += (vy >> k.shift) - k.lead;
    x += (vx >> k.shift) - k.lead;
    Samples from = {plane, width};
    if (y < 0 || x < 0 || y + high > height || x + wide > width) {
        for (int i = 0; i < high; i++) {
            const int64_t line = y + i < 0 ? 0 : y + i < height ? y + i : height - 1;
            for (int j = 0; j < wide; j++) {
                const int64_t column = x + j < 0 ? 0 : x + j < width ? x + j : width - 1;
                edge[i * REACH + j] = plane[line * width + column];
            }
        }
        from = (Samples){edge, REACH};
    } else {
        from.at += y * width + x;
    }
    if (!fx && !fy) {
        for (int i = 0; i < lines; i++)
            memcpy(out + i * out_stride, from.at + (i + k.lead) * from.stride + k.lead, (size_t)n * sizeof *out);
        return;
    }
    const int16_t *down = k.filters + k.taps * fy;
    if (!fx) {
        for (int i = 0; i < lines; i++)
            filter_line(from.at + i * from.stride + k.lead, from.stride, down, k.taps, n, 1, out + i * out_stride);
        return;
    }
    const int16_t *along = k.filters + k.taps * fx;
    if (!fy) {
        for (int i = 0; i < lines; i++)
            filter_line(from.at + (i + k.lead) * from.stride, 1, along, k.taps, n, 1, out + i * out_stride);
        return;
    }
    for (int i = 0; i < high; i++) filter_line(from.at + i * from.stride, 1, along, k.taps, n, 0, across + i * REACH);
    for (int i = 0; i < lines; i++) filter_line(across + i * REACH, REACH, down, k.taps, n, 1, out + i * out_stride);
}

/* One plane of a frame: its references and its outputs. */
typedef struct {
    const int16_t *from[2];
    int16_t *p, *d;
    int64_t height, width;
} Plane;

typedef struct {
    int64_t rows, cols;
    const uint8_t *mode;
    const int16_t *mv;
    uint64_t *keys; /* [rows,cols]: equal where motion is */
    uint8_t *kind;  /* [rows,cols]: 2 blended (a neighbour moves differently), 1 next to such a block, 0 neither */
    int32_t *sums, *d_sums; /* weighted sums of a row of blocks and its ramps */
} Motion;

/* The prediction of a window, and the difference of its two predictions; returns whether there are two. */
INLINE int window(Kind k, const Plane *plane, LvcMotion m, int64_t y, int64_t x, int lines, int n, int16_t *p,
                  int64_t p_stride, int16_t *d, int64_t d_stride) {
    int16_t other[12 * 8 * RUN];
    const int first = m.mode == 1;
    moved(k, plane->from[first], plane->height, plane->width, y, x, m.v[first][0], m.v[first][1], lines, n, p, p_stride);
    if (m.mode != 2) return 0;
    moved(k, plane->from[1], plane->height, plane->width, y, x, m.v[1][0], m.v[1][1], lines, n, other, 8 * RUN);
    for (int i = 0; i < lines; i++) {
        int16_t *restrict a = p + i * p_stride, *restrict difference = d + i * d_stride;
        const int16_t *restrict b = other + i * 8 * RUN;
        VECTORISED
        for (int j = 0; j < n; j++) {
            difference[j] = (int16_t)(a[j] - b[j]);
            a[j] = (int16_t)((a[j] + b[j] + 1) >> 1);
        }
    }
    return 1;
}

/* Adds a window, weighted along both axes, to the sums of its row of blocks. */
INLINE void add(int32_t *restrict sums, int64_t stride, const int16_t *restrict from, const int16_t *down,
                const int16_t *restrict along, int lines, int lanes) {
    for (int i = 0; i < lines; i++)
        for (int j = 0; j < lanes; j++)
            sums[i * stride + j] += (int32_t)(int16_t)(down[i] * along[j]) * from[i * LARGEST + j];
}

/* The weights of a window along an axis: they rise over the ramp by 1, 3, ...; those of neighbours sum to 2 * ramp. At
   the picture's edges a block keeps its full weight. */
INLINE void weights(Kind k, int first, int last, int16_t *to) {
    const int size = k.block + k.ramp, half = k.ramp / 2, full = 2 * k.ramp;
    for (int i = 0; i < LARGEST; i++) to[i] = (int16_t)(i < size ? full : 0);
    for (int i = 0; i < k.ramp; i++) to[i] = to[size - 1 - i] = (int16_t)(2 * i + 1);
    for (int i = half; first && i < k.ramp; i++) to[i] = (int16_t)full;
    for (int i = k.block; last && i < k.block + half; i++) to[i] = (int16_t)full;
}

/* Predicts a run of blocks from column c whose neighbours all move alike; returns how many. */
INLINE int run(Kind k, const Motion *m, const Plane *plane, int64_t r, int64_t c) {
    const int64_t at = r * m->cols + c, y = r * k.block, x = c * k.block;
    int n = 1;
    while (n < RUN && c + n < m->cols && m->kind[at + n] == 0 && m->keys[at + n] == m->keys[at]) n++;
    const int odd = k.block == 4 && n % 2; /* rows are filtered by eights */
    int16_t *p = plane->p + y * plane->width + x, *d = plane->d + y * plane->width + x;
    const LvcMotion motion = lvc_motion_at(m->mode, m->mv, m->rows * m->cols, at);
    if (!odd) {
        window(k, plane, motion, y, x, k.block, n * k.block, p, plane->width, d, plane->width);
        return n;
    }
    int16_t own[8 * 8 * RUN], difference[8 * 8 * RUN];
    const int two = window(k, plane, motion, y, x, k.block, (n + 1) * k.block, own, 8 * RUN, difference, 8 * RUN);
    for (int i = 0; i < k.block; i++) {
        memcpy(p + i * plane->width, own + i * 8 * RUN, (size_t)(n * k.block) * sizeof *p);
        if (two) memcpy(d + i * plane->width, difference + i * 8 * RUN, (size_t)(n * k.block) * sizeof *d);
    }
    return n;
}

/* Predicts a block to blend, or one next to such a block. `lead`: only adds it to the sums. */
INLINE void blended(Kind k, const Motion *m, const Plane *plane, int64_t r, int64_t c, const int16_t *down, int lead) {
    int16_t along[LARGEST], p[12 * LARGEST], d[12 * LARGEST];
    const int size = k.block + k.ramp, half = k.ramp / 2;
    const int64_t at = r * m->cols + c, y = r * k.block, x = c * k.block, stride = m->cols * 8 + LARGEST;
    const LvcMotion motion = lvc_motion_at(m->mode, m->mv, m->rows * m->cols, at);
    const int two = window(k, plane, motion, y - half, x - half, size, k.lanes, p, LARGEST, d, LARGEST);
    weights(k, c == 0, c == m->cols - 1, along);
    add(m->sums + x, stride, p, down, along, size, k.lanes);
    if (two) add(m->d_sums + x, stride, d, down, along, size, k.lanes);
    if (lead || m->kind[at] == 2) return;
    for (int i = 0; i < k.block; i++) {
        const int64_t to = (y + i) * plane->width + x;
        memcpy(plane->p + to, p + (half + i) * LARGEST + half, (size_t)k.block * sizeof *p);
        if (two) memcpy(plane->d + to, d + (half + i) * LARGEST + half, (size_t)k.block * sizeof *d);
    }
}

/* Writes the lines that no later row of blocks reaches: the last half ramp of the previous row, and all but the last
   half ramp of this one. */
INLINE void finished(Kind k, const Motion *m, const Plane *plane, int64_t r) {
    const int half = k.ramp / 2, bits = k.ramp == 4 ? 6 : 4, round = 1 << (bits - 1);
    const int64_t stride = m->cols * 8 + LARGEST;
    const int64_t first = r ? r * k.block - half : 0, end = r == m->rows - 1 ? plane->height : (r + 1) * k.block - half;
    for (int64_t y = first; y < end; y++) {
        const int64_t line = (y - r * k.block + half) * stride + half;
        const uint8_t *kind = m->kind + y / k.block * m->cols;
        for (int64_t c = 0; c < m->cols; c++) {
            if (kind[c] != 2) continue;
            const int32_t *restrict p = m->sums + line + c * k.block, *restrict d = m->d_sums + line + c * k.block;
            const int64_t to = y * plane->width + c * k.block;
            for (int j = 0; j < k.block; j++) plane->p[to + j] = (int16_t)((p[j] + round) >> bits);
            for (int j = 0; j < k.block; j++) plane->d[to + j] = (int16_t)((d[j] + round) >> bits);
        }
    }
}

/* Predicts the lines that `finished` writes for the rows of blocks from `top` to before `bottom`. */
INLINE void predicted(Kind k, const Motion *m, const Plane *plane, int64_t top, int64_t bottom) {
    const int64_t stride = m->cols * 8 + LARGEST;
    const size_t body = (size_t)(k.block * stride) * sizeof(int32_t), tail = (size_t)(k.ramp * stride) * sizeof(int32_t);
    int16_t down[LARGEST];
    memset(m->sums, 0, body + tail);
    memset(m->d_sums, 0, body + tail);
    for (int64_t r = top ? top - 1 : 0; r < bottom; r++) {
        const int lead = r < top; /* of this row only the ramp into the next is needed */
        weights(k, r == 0, r == m->rows - 1, down);
        for (int64_t c = 0; c < m->cols;) {
            if (m->kind[r * m->cols + c] != 0) {
                blended(k, m, plane, r, c++, down, lead);
            } else {
                c += lead ? 1 : run(k, m, plane, r, c);
            }
        }
        if (!lead) finished(k, m, plane, r);
        memcpy(m->sums, m->sums + k.block * stride, tail);
        memcpy(m->d_sums, m->d_sums + k.block * stride, tail);
        memset(m->sums + k.ramp * stride, 0, body);
        memset(m->d_sums + k.ramp * stride, 0, body);
    }
}

typedef struct {
    const Motion *motion;
    Plane planes[3];
    int bands;
    size_t room; /* int32 of each of a task's sums */
} Prediction;

static void predict_band(void *context, int task, int worker) {
    static const Kind luma = {8, 4, 2, LVC_TAPS, LVC_LEAD, 16, &LVC_LUMA[0][0]};
    static const Kind chroma = {4, 2, 3, 4, 1, 8, &LVC_CHROMA[0][0]};
    (void)worker;
    const Prediction *p = context;
    const Plane *plane = &p->planes[task / p->bands];
    const int64_t band = task % p->bands, top = p->motion->rows * band / p->bands;
    const int64_t bottom = p->motion->rows * (band + 1) / p->bands;
    Motion m = *p->motion;
    m.sums += 2 * p->room * (size_t)task;
    m.d_sums = m.sums + p->room;
    if (task < p->bands) {
        predicted(luma, &m, plane, top, bottom);
    } else {
        predicted(chroma, &m, plane, top, bottom);
    }
}

/* Finds the blocks to blend. LVC_BAD_FIELD: the field is invalid. */
static int32_t blend_kinds(const Motion *m, int two) {
    const int64_t blocks = m->rows * m->cols;
    for (int64_t at = 0; at < blocks; at++) {
        const LvcMotion v = lvc_motion_at(m->mode, m->mv, blocks, at);
        uint64_t key = v.mode;
        if (v.mode > 2 || (v.mode && !two)) return LVC_BAD_FIELD;
        for (int i = 0; i < 4; i++) {
            const int component = v.v[i / 2][i % 2];
            if (component < -LVC_LONGEST || component > LVC_LONGEST || (component && !lvc_uses(v, i / 2)))
                return LVC_BAD_FIELD;
            key = key << 13 | (uint64_t)(component + LVC_LONGEST);
        }
        m->keys[at] = key;
    }
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t c = 0; c < m->cols; c++) {
            const int64_t top = r ? r - 1 : 0, left = c ? c - 1 : 0;
            const int64_t bottom = r + 1 < m->rows ? r + 1 : r, right = c + 1 < m->cols ? c + 1 : c;
            const uint64_t own = m->keys[r * m->cols + c];
            int differ = 0;
            for (int64_t y = top; y <= bottom; y++)
                for (int64_t x = left; x <= right; x++) differ |= m->keys[y * m->cols + x] != own;
            m->kind[r * m->cols + c] = differ ? 2 : 0;
        }
    for (int64_t r = 0; r < m->rows; r++)
        for (int64_t c = 0; c < m->cols; c++) {
            const int64_t top = r ? r - 1 : 0, left = c ? c - 1 : 0;
            const int64_t bottom = r + 1 < m->rows ? r + 1 : r, right = c + 1 < m->cols ? c + 1 : c;
            if (m->kind[r * m->cols + c]) continue;
            int near = 0;
            for (int64_t y = top; y <= bottom; y++)
                for (int64_t x = left; x <= right; x++) near |= m->kind[y * m->cols + x] == 2;
            m->kind[r * m->cols + c] = (uint8_t)near;
        }
    return LVC_OK;
}

/* Predicts a frame; see `lvc_compensate`. */
static int32_t compensate(const int16_t *y0, const int16_t *uv0, const int16_t *y1, const int16_t *uv1,
                          const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols, int16_t *p_y,
                          int16_t *p_uv, int16_t *d_y, int16_t *d_uv) {
    const size_t blocks = (size_t)(rows * cols), room = 12 * (size_t)(cols * 8 + LARGEST);
    const int threads = pool_threads(), bands = threads < rows ? threads : (int)rows;
    Motion m = {rows, cols, mode, mv, malloc(blocks * sizeof *m.keys), malloc(blocks), NULL, NULL};
    m.sums = malloc(3 * (size_t)bands * 2 * room * sizeof *m.sums);
    int32_t failed = LVC_NO_MEMORY;
    if (m.keys && m.kind && m.sums) failed = blend_kinds(&m, y1 != NULL);
    if (!failed) {
        memset(d_y, 0, 64 * blocks * sizeof *d_y);
        memset(d_uv, 0, 32 * blocks * sizeof *d_uv);
        const size_t at = 16 * blocks;
        Prediction p = {.motion = &m, .bands = bands, .room = room};
        p.planes[0] = (Plane){{y0, y1}, p_y, d_y, 8 * rows, 8 * cols};
        for (int c = 0; c < 2; c++)
            p.planes[1 + c] = (Plane){{uv0 + c * at, uv1 ? uv1 + c * at : NULL}, p_uv + c * at, d_uv + c * at, 4 * rows, 4 * cols};
        pool_run(predict_band, &p, 3 * p.bands);
    }
    free(m.keys);
    free(m.kind);
    free(m.sums);
    return failed;
}
