/* The encoder's search for motion, on reconstructions. Nothing here is normative.

   Each reference is searched coarse to fine in a pyramid of halved planes, then every block of the quadtree takes what
   costs least, λ·(squared error) + bits, of its candidates, what was found, and steps around the best. Errors are
   taken on 8-bit planes that are filtered at all sixteen quarter positions once for each reference: many candidates
   look at every sample. Of chroma only the mean over each block counts: luma may agree where colours are far apart. */

#include "motion.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#if defined(__AVX2__)
#include <immintrin.h>
#elif defined(__SSE2__)
#include <emmintrin.h>
#endif

#define MARGIN 24 /* by which planes are padded: a block of 16 and what filters reach */
#define PHASES 4
#define LEVELS 6
#define COMPONENTS 8192
#define TRIED 64
#define TINT 11 /* what a squared difference of a block's mean chroma counts: 16 samples, 1/8 : 6/8 · 1/4 each */

/* ---- planes ---- */

/* A plane padded by MARGIN; `at` is its first sample. */
typedef struct {
    uint8_t *at;
    int64_t height, width, stride;
} Level;

/* Means of 4x4 chroma samples around each, rows y - 2 to y + 1: pairs of both planes. */
typedef struct {
    uint8_t *at;
    int64_t height, width;
} Tint;

/* A frame to be searched: at full size, in all phases if it is a reference, and halved again and again. */
typedef struct {
    Level phase[PHASES * PHASES], half[LEVELS]; /* phase[0] is half[0] */
    Tint tint[LEVELS];
    int levels;
} Picture;

static int64_t stride_of(int64_t width) { return (width + 2 * MARGIN + 31) / 32 * 32; }

static size_t level_of(uint8_t *from, int64_t height, int64_t width, Level *out) {
    const int64_t stride = stride_of(width);
    const Level made = {from ? from + MARGIN * stride + MARGIN : NULL, height, width, stride};
    *out = made;
    return (size_t)((height + 2 * MARGIN) * stride);
}

static size_t tint_of(uint8_t *from, int64_t height, int64_t width, Tint *out) {
    const Tint made = {from, height, width};
    *out = made;
    return (size_t)(2 * height * width);
}

/* How a picture's planes lie in memory: in one that is no reference as in one that is, up to the phases. Returns how
   many bytes they take. */
static size_t laid_out(uint8_t *memory, int64_t height, int64_t width, int phases, Picture *p) {
    size_t used = 0;
    p->levels = 0;
    for (int64_t h = height, w = width; !p->levels || (p->levels < LEVELS && h >= 32 && w >= 32); h /= 2, w /= 2) {
        used += level_of(memory ? memory + used : NULL, h, w, &p->half[p->levels]);
        used += tint_of(memory ? memory + used : NULL, h / 2, w / 2, &p->tint[p->levels++]);
    }
    p->phase[0] = p->half[0];
    for (int k = 1; k < phases; k++) used += level_of(memory ? memory + used : NULL, height, width, &p->phase[k]);
    return used + 64; /* rows are read 32 samples at a time */
}

static size_t picture_size(int64_t height, int64_t width, int32_t reference) {
    Picture p;
    return laid_out(NULL, height, width, reference ? PHASES * PHASES : 1, &p);
}

static void pad(const Level *p) {
    for (int64_t y = 0; y < p->height; y++) {
        uint8_t *line = p->at + y * p->stride;
        memset(line - MARGIN, line[0], MARGIN);
        memset(line + p->width, line[p->width - 1], (size_t)(p->stride - p->width - MARGIN));
    }
    const uint8_t *first = p->at - MARGIN, *last = p->at + (p->height - 1) * p->stride - MARGIN;
    for (int64_t y = 1; y <= MARGIN; y++) {
        memcpy(p->at - y * p->stride - MARGIN, first, (size_t)p->stride);
        memcpy(p->at + (p->height - 1 + y) * p->stride - MARGIN, last, (size_t)p->stride);
    }
}

static void halved(const Level *from, const Level *to) {
    for (int64_t y = 0; y < to->height; y++) {
        const uint8_t *restrict a = from->at + 2 * y * from->stride, *restrict b = a + from->stride;
        uint8_t *restrict out = to->at + y * to->stride;
        for (int64_t x = 0; x < to->width; x++)
            out[x] = (uint8_t)((a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2);
    }
    pad(to);
}

/* Filtered lines between two roundings: 8-bit samples overshoot to -96..351. */
INLINE void across_line(const uint8_t *restrict p, const int16_t *f, int64_t n, int16_t *restrict to) {
    for (int64_t x = 0; x < n; x++) {
        int16_t sum = 32;
        for (int k = 0; k < LVC_TAPS; k++) sum = (int16_t)(sum + f[k] * p[x + k]);
        to[x] = (int16_t)(sum >> 6);
    }
}

/* Sums lie in -16784..33168: in 16 bits without a sign, and 264 · 64 more. */
INLINE void down_line(const int16_t *const *lines, const int16_t *f, int64_t n, uint8_t *restrict to) {
    for (int64_t x = 0; x < n; x++) {
        uint16_t sum = 264 * 64 + 32;
        for (int k = 0; k < LVC_TAPS; k++) sum = (uint16_t)(sum + (uint16_t)f[k] * (uint16_t)lines[k][x]);
        const int16_t v = (int16_t)((int16_t)(sum >> 6) - 264);
        to[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
    }
}

/* All phases but the first: lines filtered across are kept in rings of 8, since filters down reach no further. */
static int interpolated(const Picture *p) {
    const Level *whole = &p->phase[0];
    const int64_t n = whole->stride - 8, height = whole->height;
    int16_t *ring = malloc((size_t)(PHASES * 8 * n) * sizeof *ring);
    if (!ring) return 0;
    int64_t ready = 0;
    for (int64_t y = -MARGIN; y < height + MARGIN; y++) {
        const int64_t own = lvc_bounded((int32_t)y, 0, (int32_t)height - 1);
        /* above the picture its first line is all there is */
        for (; ready < height && (!ready || ready <= y + LVC_TAPS - 1 - LVC_LEAD); ready++) {
            const uint8_t *line = whole->at + ready * whole->stride - MARGIN;
            for (int fx = 0; fx < PHASES; fx++) {
                int16_t *to = ring + (8 * fx + ready % 8) * n;
                if (fx == 0)
                    for (int64_t x = 0; x < n; x++) to[x] = line[x + LVC_LEAD];
                else
                    across_line(line, LVC_LUMA[fx], n, to);
            }
        }
        for (int fx = 0; fx < PHASES; fx++) {
            const int16_t *lines[LVC_TAPS];
            for (int k = 0; k < LVC_TAPS; k++) {
                const int64_t at = lvc_bounded((int32_t)(y - LVC_LEAD + k), 0, (int32_t)height - 1);
                lines[k] = ring + (8 * fx + at % 8) * n;
            }
            const int16_t *middle = ring + (8 * fx + own % 8) * n;
            for (int fy = fx ? 0 : 1; fy < PHASES; fy++) {
                const Level *level = &p->phase[PHASES * fy + fx];
                uint8_t *to = level->at + y * level->stride - MARGIN + LVC_LEAD;
                if (fy)
                    down_line(lines, LVC_LUMA[fy], n, to);
                else
                    for (int64_t x = 0; x < n; x++) to[x] = (uint8_t)(middle[x] < 0 ? 0 : middle[x] > 255 ? 255 : middle[x]);
            }
        }
    }
    free(ring);
    return 1;
}

/* Sums of samples x - 2 to x + 1 of a line of at least 8. */
INLINE void four_sums(const int16_t *restrict from, int64_t n, int16_t *restrict to) {
    to[0] = (int16_t)(3 * from[0] + from[1]), to[1] = (int16_t)(2 * from[0] + from[1] + from[2]);
    for (int64_t x = 2; x < n - 1; x++) to[x] = (int16_t)(from[x - 2] + from[x - 1] + from[x] + from[x + 1]);
    to[n - 1] = (int16_t)(from[n - 3] + from[n - 2] + 2 * from[n - 1]);
}

INLINE uint16_t mean_of(int32_t sum) {
    const int32_t v = (sum + 128) >> 8;
    return (uint16_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* Halved where it lies: what is written was read before. */
static void halved_samples(int16_t *plane, int64_t height, int64_t width) {
    for (int64_t y = 0; y < height / 2; y++) {
        const int16_t *a = plane + 2 * y * width, *b = a + width;
        int16_t *to = plane + y * (width / 2);
        for (int64_t x = 0; x < width / 2; x++)
            to[x] = (int16_t)((a[2 * x] + a[2 * x + 1] + b[2 * x] + b[2 * x + 1] + 2) >> 2);
    }
}

/* Chroma of 12 bits as tints of all levels: sums of 4x4 samples fit 16 bits. */
static int tinted(const int16_t *chroma, const Picture *p) {
    int64_t height = p->tint[0].height, width = p->tint[0].width;
    const int64_t samples = height * width;
    int16_t *planes = malloc((size_t)(2 * samples + 8 * width) * sizeof *planes), *sums = planes + 2 * samples;
    if (!planes) return 0;
    memcpy(planes, chroma, (size_t)(2 * samples) * sizeof *planes);
    for (int level = 0; level < p->levels; level++) {
        if (level) {
            for (int k = 0; k < 2; k++) halved_samples(planes + k * samples, height, width);
            height /= 2, width /= 2;
        }
        for (int64_t y = 0, ready = 0; y < height; y++) {
            const int16_t *lines[2][4];
            for (; ready < height && ready <= y + 1; ready++)
                for (int k = 0; k < 2; k++)
                    four_sums(planes + k * samples + ready * width, width, sums + (4 * k + ready % 4) * width);
            for (int k = 0; k < 2; k++)
                for (int i = 0; i < 4; i++)
                    lines[k][i] = sums + (4 * k + lvc_bounded((int32_t)y - 2 + i, 0, (int32_t)height - 1) % 4) * width;
            uint8_t *restrict to = p->tint[level].at + 2 * y * width;
            for (int64_t x = 0; x < width; x++) {
                const uint16_t u = mean_of(lines[0][0][x] + lines[0][1][x] + lines[0][2][x] + lines[0][3][x]);
                const uint16_t v = mean_of(lines[1][0][x] + lines[1][1][x] + lines[1][2][x] + lines[1][3][x]);
                to[2 * x] = (uint8_t)u, to[2 * x + 1] = (uint8_t)v;
            }
        }
    }
    free(planes);
    return 1;
}

/* Luma int16 [height,width] and chroma [2,height/2,width/2] (NULL: none) of 12 bits → what is searched, to `memory` of
   `lvc_picture_size` bytes, which are 0. */
static int32_t picture(const int16_t *luma, const int16_t *chroma, int64_t height, int64_t width, int32_t reference,
                       uint8_t *memory) {
    Picture p;
    laid_out(memory, height, width, reference ? PHASES * PHASES : 1, &p);
    if (chroma && !tinted(chroma, &p)) return LVC_NO_MEMORY;
    for (int64_t y = 0; y < height; y++) {
        uint8_t *restrict to = p.half[0].at + y * p.half[0].stride;
        const int16_t *restrict from = luma + y * width;
        for (int64_t x = 0; x < width; x++) {
            const int v = (from[x] + 8) >> 4;
            to[x] = (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
        }
    }
    pad(&p.half[0]);
    for (int k = 1; k < p.levels; k++) halved(&p.half[k - 1], &p.half[k]);
    return !reference || interpolated(&p) ? LVC_OK : LVC_NO_MEMORY;
}

/* ---- errors ---- */

/* Squared differences of `wide` (8, 16 or 32) x `high` (even) samples; of a block and the mean of two others. */
#if defined(__AVX2__)
INLINE __m256i two_rows(const uint8_t *p, int64_t stride) {
    const __m128i first = _mm_loadl_epi64((const __m128i *)p), second = _mm_loadl_epi64((const __m128i *)(p + stride));
    return _mm256_cvtepu8_epi16(_mm_unpacklo_epi64(first, second));
}

INLINE __m256i widened(__m128i p) { return _mm256_cvtepu8_epi16(p); }

INLINE __m128i loaded(const uint8_t *p) { return _mm_loadu_si128((const __m128i *)p); }

INLINE uint32_t summed(__m256i sum) {
    __m128i half = _mm_add_epi32(_mm256_castsi256_si128(sum), _mm256_extracti128_si256(sum, 1));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0x4e));
    half = _mm_add_epi32(half, _mm_shuffle_epi32(half, 0xb1));
    return (uint32_t)_mm_cvtsi128_si32(half);
}

INLINE __m256i added(__m256i sum, __m256i a, __m256i b) {
    const __m256i d = _mm256_sub_epi16(a, b);
    return _mm256_add_epi32(sum, _mm256_madd_epi16(d, d));
}

INLINE uint32_t squares(const uint8_t *a, int64_t a_stride, const uint8_t *b, int64_t b_stride, int wide, int high) {
    __m256i sum = _mm256_setzero_si256(), other = sum;
    if (wide == 8) {
        for (int i = 0; i < high; i += 2)
            sum = added(sum, two_rows(a + i * a_stride, a_stride), two_rows(b + i * b_stride, b_stride));
        return summed(sum);
    }
    for (int i = 0; i < high; i++) {
        const uint8_t *p = a + i * a_stride, *q = b + i * b_stride;
        sum = added(sum, widened(loaded(p)), widened(loaded(q)));
        if (wide == 32) other = added(other, widened(loaded(p + 16)), widened(loaded(q + 16)));
    }
    return summed(_mm256_add_epi32(sum, other));
}

INLINE uint32_t mean_squares(const uint8_t *a, int64_t a_stride, const uint8_t *b, const uint8_t *c, int64_t stride,
                             int wide, int high) {
    __m256i sum = _mm256_setzero_si256(), other = sum;
    if (wide == 8) {
        for (int i = 0; i < high; i += 2)
            sum = added(sum, two_rows(a + i * a_stride, a_stride),
                        _mm256_avg_epu16(two_rows(b + i * stride, stride), two_rows(c + i * stride, stride)));
        return summed(sum);
    }
    for (int i = 0; i < high; i++) {
        const uint8_t *p = a + i * a_stride, *q = b + i * stride, *r = c + i * stride;
        sum = added(sum, widened(loaded(p)), widened(_mm_avg_epu8(loaded(q), loaded(r))));
        if (wide == 32) other = added(other, widened(loaded(p + 16)), widened(_mm_avg_epu8(loaded(q + 16), loaded(r + 16))));
    }
    return summed(_mm256_add_epi32(sum, other));
}
#else
INLINE uint32_t squares(const uint8_t *a, int64_t a_stride, const uint8_t *b, int64_t b_stride, int wide, int high) {
    uint32_t sum = 0;
    for (int i = 0; i < high; i++)
        for (int j = 0; j < wide; j++) {
            const int16_t d = (int16_t)(a[i * a_stride + j] - b[i * b_stride + j]);
            sum += (uint32_t)(d * d);
        }
    return sum;
}

INLINE uint32_t mean_squares(const uint8_t *a, int64_t a_stride, const uint8_t *b, const uint8_t *c, int64_t stride,
                             int wide, int high) {
    uint32_t sum = 0;
    for (int i = 0; i < high; i++)
        for (int j = 0; j < wide; j++) {
            const int16_t d = (int16_t)(a[i * a_stride + j] - ((b[i * stride + j] + c[i * stride + j] + 1) >> 1));
            sum += (uint32_t)(d * d);
        }
    return sum;
}
#endif

/* Absolute differences of 8x8 samples. */
#if defined(__SSE2__)
INLINE __m128i both_rows(const uint8_t *p, int64_t stride) {
    return _mm_unpacklo_epi64(_mm_loadl_epi64((const __m128i *)p), _mm_loadl_epi64((const __m128i *)(p + stride)));
}

INLINE uint32_t absolutes(const uint8_t *a, int64_t a_stride, const uint8_t *b, int64_t b_stride) {
    __m128i sum = _mm_setzero_si128();
    for (int i = 0; i < 8; i += 2)
        sum = _mm_add_epi32(sum, _mm_sad_epu8(both_rows(a + i * a_stride, a_stride), both_rows(b + i * b_stride, b_stride)));
    return (uint32_t)_mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_unpackhi_epi64(sum, sum)));
}
#else
INLINE uint32_t absolutes(const uint8_t *a, int64_t a_stride, const uint8_t *b, int64_t b_stride) {
    uint32_t sum = 0;
    for (int i = 0; i < 8; i++)
        for (int j = 0; j < 8; j++) sum += (uint32_t)abs(a[i * a_stride + j] - b[i * b_stride + j]);
    return sum;
}
#endif

/* Where a block of `size` at (y, x) lies in a padded plane; blocks beyond its margin lie in the margin, which is the
   same for blocks of at most 16. */
INLINE const uint8_t *place(const Level *p, int64_t y, int64_t x, int size) {
    y = y < -MARGIN ? -MARGIN : y > p->height + MARGIN - size ? p->height + MARGIN - size : y;
    x = x < -MARGIN ? -MARGIN : x > p->width + MARGIN - size ? p->width + MARGIN - size : x;
    return p->at + y * p->stride + x;
}

INLINE int inside(const Level *p, int64_t y, int64_t x, int size) {
    return y >= -MARGIN && x >= -MARGIN && y + size <= p->height + MARGIN && x + size <= p->width + MARGIN;
}

INLINE const Level *phase(const Picture *p, int vx, int vy) { return &p->phase[PHASES * (vy & 3) + (vx & 3)]; }

/* The pair of a square in `t`, by its centre in quarters of a luma sample, or four of them: 8 << shift to the next. */
INLINE const uint8_t *tint_at(const Tint *t, int64_t y, int64_t x, int shift) {
    const int64_t half = 4 << shift;
    y = (y + half) >> (shift + 3), x = (x + half) >> (shift + 3);
    if ((uint64_t)y >= (uint64_t)t->height) y = y < 0 ? 0 : t->height - 1;
    if ((uint64_t)x >= (uint64_t)t->width) x = x < 0 ? 0 : t->width - 1;
    return t->at + 2 * (y * t->width + x);
}

/* What the square at (y, x) misses in chroma, moved by a vector: by blocks of 8, or of 16 if it is larger. */
INLINE uint32_t missed_tint(const Picture *now, const Picture *ref, int64_t y, int64_t x, int size, int vx, int vy) {
    const int big = size > 8 && now->levels > 1, side = 8 << big;
    const Tint *own = &now->tint[big], *other = &ref->tint[big];
    uint32_t sum = 0;
    for (int64_t i = 4 * y + 2 * side; i < 4 * (y + size); i += 4 * side)
        for (int64_t j = 4 * x + 2 * side; j < 4 * (x + size); j += 4 * side) {
            const uint8_t *a = tint_at(own, i, j, big), *b = tint_at(other, i + vy, j + vx, big);
            const int u = a[0] - b[0], v = a[1] - b[1];
            sum += (uint32_t)(u * u + v * v);
        }
    return (uint32_t)TINT * sum << 2 * big;
}

/* Squared error of the square at (y, x) moved by a vector. */
static uint32_t missed_luma(const Picture *now, const Picture *ref, int64_t y, int64_t x, int size, int vx, int vy) {
    const Level *own = &now->half[0], *plane = phase(ref, vx, vy);
    const uint8_t *a = own->at + y * own->stride + x;
    const int64_t top = y + (vy >> 2), left = x + (vx >> 2);
    if (size == 8) return squares(a, own->stride, place(plane, top, left, 8), plane->stride, 8, 8);
    if (size == 16) return squares(a, own->stride, place(plane, top, left, 16), plane->stride, 16, 16);
    uint32_t sum = 0;
    if (inside(plane, top, left, size)) {
        const uint8_t *b = plane->at + top * plane->stride + left;
        for (int j = 0; j < size; j += 32) sum += squares(a + j, own->stride, b + j, plane->stride, 32, size);
        return sum;
    }
    for (int i = 0; i < size; i += 16)
        for (int j = 0; j < size; j += 16)
            sum += squares(a + i * own->stride + j, own->stride, place(plane, top + i, left + j, 16), plane->stride, 16, 16);
    return sum;
}

INLINE uint32_t missed(const Picture *now, const Picture *ref, int64_t y, int64_t x, int size, int vx, int vy) {
    return missed_luma(now, ref, y, x, size, vx, vy) + missed_tint(now, ref, y, x, size, vx, vy);
}

/* The same of the mean of both predictions. */
static uint32_t both_missed_luma(const Picture *now, const Picture *const *refs, int64_t y, int64_t x, int size, LvcMotion m) {
    const Level *own = &now->half[0];
    const Level *p = phase(refs[0], m.v[0][0], m.v[0][1]), *q = phase(refs[1], m.v[1][0], m.v[1][1]);
    const uint8_t *a = own->at + y * own->stride + x;
    const int64_t py = y + (m.v[0][1] >> 2), px = x + (m.v[0][0] >> 2), qy = y + (m.v[1][1] >> 2), qx = x + (m.v[1][0] >> 2);
    if (size == 8)
        return mean_squares(a, own->stride, place(p, py, px, 8), place(q, qy, qx, 8), p->stride, 8, 8);
    uint32_t sum = 0;
    if (size > 16 && inside(p, py, px, size) && inside(q, qy, qx, size)) {
        const uint8_t *b = p->at + py * p->stride + px, *c = q->at + qy * q->stride + qx;
        for (int j = 0; j < size; j += 32) sum += mean_squares(a + j, own->stride, b + j, c + j, p->stride, 32, size);
        return sum;
    }
    for (int i = 0; i < size; i += 16)
        for (int j = 0; j < size; j += 16)
            sum += mean_squares(a + i * own->stride + j, own->stride, place(p, py + i, px + j, 16),
                                place(q, qy + i, qx + j, 16), p->stride, 16, 16);
    return sum;
}

INLINE uint32_t both_missed(const Picture *now, const Picture *const *refs, int64_t y, int64_t x, int size, LvcMotion m) {
    const int big = size > 8 && now->levels > 1, side = 8 << big;
    uint32_t sum = 0;
    for (int64_t i = 4 * y + 2 * side; i < 4 * (y + size); i += 4 * side)
        for (int64_t j = 4 * x + 2 * side; j < 4 * (x + size); j += 4 * side) {
            const uint8_t *a = tint_at(&now->tint[big], i, j, big);
            const uint8_t *b = tint_at(&refs[0]->tint[big], i + m.v[0][1], j + m.v[0][0], big);
            const uint8_t *c = tint_at(&refs[1]->tint[big], i + m.v[1][1], j + m.v[1][0], big);
            const int u = a[0] - ((b[0] + c[0] + 1) >> 1), v = a[1] - ((b[1] + c[1] + 1) >> 1);
            sum += (uint32_t)(u * u + v * v);
        }
    return ((uint32_t)TINT * sum << 2 * big) + both_missed_luma(now, refs, y, x, size, m);
}

/* ---- coarse to fine ---- */

typedef struct {
    int32_t x, y;
} Vector;

typedef struct {
    Picture now, pictures[2];
    const Picture *refs[2];
    LvcFrame *frame;
    Vector *found[2][LEVELS]; /* [reference][level]: whole samples of blocks of 8 at that level; level 0: quarters, of 16 */
    float weight, bits[COMPONENTS];
    float flag_bits[LVC_CONTEXTS][2], class_bits[2][4][13]; /* of what the coder's contexts expect */
    float settled_bits, whole_bits; /* squares that cost no more are not searched; blocks of 16, not split */
    int effort, level, around; /* how many steps around a vector are looked at: 4, or 8 */
} Search;

static int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

INLINE float component(const Search *s, int32_t d) {
    const int32_t size = d < 0 ? -d : d;
    return s->bits[size < COMPONENTS ? size : COMPONENTS - 1];
}

INLINE float apart(const Search *s, Vector a, Vector b, int scale) {
    return component(s, (a.x - b.x) * scale) + component(s, (a.y - b.y) * scale);
}

/* What a block's vector may be, and the best of what was looked at. */
typedef struct {
    Vector seen[TRIED], best, guess;
    int known;
    uint64_t bits; /* a bit of every vector seen: most are not */
    float cost;
} Hunt;

INLINE int fresh(Hunt *h, Vector v) {
    const uint64_t bit = (uint64_t)1 << (((uint32_t)v.x + 8 * (uint32_t)v.y) & 63);
    if (h->bits & bit)
        for (int i = 0; i < h->known; i++)
            if (h->seen[i].x == v.x && h->seen[i].y == v.y) return 0;
    h->bits |= bit;
    if (h->known == TRIED) return 0;
    h->seen[h->known++] = v;
    return 1;
}

/* Where reference k's motion, gone on evenly, comes from: in quarter samples. */
static int guessed(const Search *s, int k, int64_t by, int64_t bx, LvcMotion *out) {
    return lvc_temporal(s->frame, k, by, bx, out);
}

typedef struct {
    const Level *now, *ref;
    const Tint *tint, *other;
    float price;
    int scale;
} Coarse;

INLINE uint32_t coarse_error(const Coarse *c, int64_t y, int64_t x, Vector v) {
    const uint8_t *a = c->now->at + y * c->now->stride + x;
    const uint8_t *t = tint_at(c->tint, 4 * y + 16, 4 * x + 16, 0);
    const uint8_t *o = tint_at(c->other, 4 * (y + v.y) + 16, 4 * (x + v.x) + 16, 0);
    return absolutes(a, c->now->stride, place(c->ref, y + v.y, x + v.x, 8), c->ref->stride) +
           TINT * (uint32_t)(abs(t[0] - o[0]) + abs(t[1] - o[1]));
}

INLINE void try_coarse(const Search *s, const Coarse *c, Hunt *h, int64_t y, int64_t x, Vector v) {
    if (!fresh(h, v)) return;
    const float cost = (float)coarse_error(c, y, x, v) + c->price * apart(s, v, h->guess, c->scale);
    if (cost < h->cost) h->cost = cost, h->best = v;
}

static void full_search(const Search *s, const Coarse *c, Hunt *h, int64_t y, int64_t x, int radius) {
    for (int dy = -radius; dy <= radius; dy++)
        for (int dx = -radius; dx <= radius; dx++) {
            const Vector v = {dx, dy};
            const float cost = (float)coarse_error(c, y, x, v) + c->price * apart(s, v, h->guess, c->scale);
            if (cost < h->cost) h->cost = cost, h->best = v;
        }
}

/* Vectors of one reference at one level from those of the level above it (NULL: the top). */
static void search_level(Search *s, int r, int level, int radius) {
    const Coarse c = {&s->now.half[level], &s->refs[r]->half[level], &s->now.tint[level], &s->refs[r]->tint[level],
                      sqrtf(0.5f / s->weight) / (float)(1 << level), 4 << level};
    const int64_t rows = up(c.now->height, 8), cols = up(c.now->width, 8);
    const int64_t above_rows = up(c.now->height / 2, 8), above_cols = up(c.now->width / 2, 8);
    Vector *out = s->found[r][level];
    const Vector *parent = level + 1 < s->now.levels ? s->found[r][level + 1] : NULL;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const int64_t y = 8 * i, x = 8 * j, at = i * cols + j;
            Hunt h = {.cost = INFINITY};
            if (parent) {
                const int64_t py = i / 2 < above_rows ? i / 2 : above_rows - 1, px = j / 2 < above_cols ? j / 2 : above_cols - 1;
                int64_t qy = py + (i % 2 ? 1 : -1), qx = px + (j % 2 ? 1 : -1);
                qy = qy < 0 ? 0 : qy < above_rows ? qy : above_rows - 1, qx = qx < 0 ? 0 : qx < above_cols ? qx : above_cols - 1;
                const Vector own = parent[py * above_cols + px];
                h.guess = (Vector){2 * own.x, 2 * own.y};
                try_coarse(s, &c, &h, y, x, h.guess);
                const Vector near[3] = {parent[qy * above_cols + px], parent[py * above_cols + qx], parent[qy * above_cols + qx]};
                for (int k = 0; k < 3; k++) try_coarse(s, &c, &h, y, x, (Vector){2 * near[k].x, 2 * near[k].y});
            }
            try_coarse(s, &c, &h, y, x, (Vector){0, 0});
            if (j) try_coarse(s, &c, &h, y, x, out[at - 1]);
            if (i) try_coarse(s, &c, &h, y, x, out[at - cols]);
            if (i && j + 1 < cols) try_coarse(s, &c, &h, y, x, out[at - cols + 1]);
            for (int k = 0; k < s->frame->references; k++) {
                LvcMotion m;
                const int64_t by = (2 * i + 1) << level >> 1, bx = (2 * j + 1) << level >> 1;
                if (!guessed(s, k, by, bx, &m)) continue;
                const int half = 2 << level;
                try_coarse(s, &c, &h, y, x, (Vector){(m.v[r][0] + half) >> (level + 2), (m.v[r][1] + half) >> (level + 2)});
            }
            if (!parent) full_search(s, &c, &h, y, x, radius);
            for (int round = 0; round < 4; round++) {
                const Vector from = h.best;
                for (int dy = -1; dy <= 1; dy++)
                    for (int dx = -1; dx <= 1; dx++) try_coarse(s, &c, &h, y, x, (Vector){from.x + dx, from.y + dy});
                if (from.x == h.best.x && from.y == h.best.y) break;
            }
            out[at] = h.best;
        }
}

/* Blocks of 16 in quarters of a sample, by squared error. */
INLINE void try_fine(const Search *s, Hunt *h, int r, int64_t y, int64_t x, Vector v) {
    v.x = lvc_bounded(v.x, -LVC_LONGEST, LVC_LONGEST), v.y = lvc_bounded(v.y, -LVC_LONGEST, LVC_LONGEST);
    if (!fresh(h, v)) return;
    const float cost = (float)missed(&s->now, s->refs[r], y, x, 16, v.x, v.y) * s->weight + apart(s, v, h->guess, 1);
    if (cost < h->cost) h->cost = cost, h->best = v;
}

static const Vector CROSS[8] = {{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {-1, -1}, {1, -1}, {-1, 1}};

static void refine(const Search *s, Hunt *h, int r, int64_t y, int64_t x) {
    for (int step = 4; step; step /= 2)
        for (int round = 0; round < (step == 4 ? 4 : 2); round++) {
            const Vector from = h->best;
            for (int k = 0; k < 4; k++)
                try_fine(s, h, r, y, x, (Vector){from.x + step * CROSS[k].x, from.y + step * CROSS[k].y});
            if (from.x == h->best.x && from.y == h->best.y) break;
        }
}

static const float FOUND_BITS = 16.0f; /* a block of 16 that costs no more is not searched further */

/* Once more from the other end: what was found late may be better for what was searched early. */
static void search_back(Search *s, int r) {
    const int64_t rows = s->frame->rows / 2, cols = s->frame->cols / 2;
    Vector *out = s->found[r][0];
    for (int64_t i = rows - 1; i >= 0; i--)
        for (int64_t j = cols - 1; j >= 0; j--) {
            const int64_t y = 16 * i, x = 16 * j, at = i * cols + j;
            Hunt h = {.cost = INFINITY, .guess = out[at]};
            try_fine(s, &h, r, y, x, out[at]);
            if (h.cost <= FOUND_BITS) continue;
            if (i + 1 < rows) try_fine(s, &h, r, y, x, out[at + cols]);
            if (j + 1 < cols) try_fine(s, &h, r, y, x, out[at + 1]);
            if (i + 1 < rows && j) try_fine(s, &h, r, y, x, out[at + cols - 1]);
            if (h.best.x == out[at].x && h.best.y == out[at].y) continue;
            refine(s, &h, r, y, x);
            out[at] = h.best;
        }
}

static void search_blocks(Search *s, int r) {
    const int64_t rows = s->frame->rows / 2, cols = s->frame->cols / 2;
    Vector *out = s->found[r][0];
    const Vector *parent = s->now.levels > 1 ? s->found[r][1] : NULL;
    const int64_t last_row = up(s->now.half[0].height / 2, 8) - 1, last_col = up(s->now.half[0].width / 2, 8) - 1;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const int64_t y = 16 * i, x = 16 * j, at = i * cols + j;
            Hunt h = {.cost = INFINITY, .guess = j ? out[at - 1] : (Vector){0, 0}};
            try_fine(s, &h, r, y, x, (Vector){0, 0});
            if (j) try_fine(s, &h, r, y, x, out[at - 1]);
            if (i) try_fine(s, &h, r, y, x, out[at - cols]);
            if (i && j + 1 < cols) try_fine(s, &h, r, y, x, out[at - cols + 1]);
            for (int k = 0; k < s->frame->references; k++) {
                LvcMotion m;
                if (guessed(s, k, 2 * i + 1, 2 * j + 1, &m)) try_fine(s, &h, r, y, x, (Vector){m.v[r][0], m.v[r][1]});
            }
            if (h.cost > FOUND_BITS) {
                for (int k = 0; parent && k < 5; k++) { /* its own, and those beside it */
                    int64_t py = i + (k == 1) - (k == 2), px = j + (k == 3) - (k == 4);
                    py = py < 0 ? 0 : py < last_row ? py : last_row, px = px < 0 ? 0 : px < last_col ? px : last_col;
                    const Vector v = parent[py * (last_col + 1) + px];
                    try_fine(s, &h, r, y, x, (Vector){8 * v.x, 8 * v.y});
                }
                refine(s, &h, r, y, x);
            }
            out[at] = h.best;
        }
    if (s->effort > 0) search_back(s, r);
}

/* ---- the quadtree ---- */


typedef struct {
    Vector v;
    uint32_t error;
} Tried;

typedef struct {
    Vector v;
    float cost;
} Best;

typedef struct {
    int64_t by, bx, n;
    LvcCandidates list;
    LvcMotion best;
    LvcGuesses guess[2];
    int spread[2][2];
    float which_bits[2][2];
    Tried tried[2][TRIED];
    int known[2];
    uint64_t seen[2]; /* a bit of every vector tried: most are not */
    float cost;
    Best ways[2]; /* the best vector of each reference alone */
    float mode_bits[3];
    int is_explicit;
} Leaf;

static uint32_t uni_error(const Search *s, Leaf *l, int r, Vector v) {
    const uint64_t bit = (uint64_t)1 << (((uint32_t)v.x + 8 * (uint32_t)v.y) & 63);
    if (l->seen[r] & bit)
        for (int i = 0; i < l->known[r]; i++)
            if (l->tried[r][i].v.x == v.x && l->tried[r][i].v.y == v.y) return l->tried[r][i].error;
    l->seen[r] |= bit;
    const uint32_t error = missed(&s->now, s->refs[r], 8 * l->by, 8 * l->bx, (int)(8 * l->n), v.x, v.y);
    if (l->known[r] < TRIED) l->tried[r][l->known[r]++] = (Tried){v, error};
    return error;
}

INLINE float flag_bits(const Search *s, int context, int bit) { return s->flag_bits[context][bit]; }

/* 0, 1, 2, ... for sizes 1, 2 to 3, 4 to 7, ... */
INLINE int class_of(int32_t d) {
    uint32_t size = (uint32_t)(d < 0 ? -d : d);
#if defined(__GNUC__)
    const int class = 31 - __builtin_clz(size);
#else
    int class = 0;
    while (size >> (class + 1)) class++;
#endif
    return class < 12 ? class : 12;
}

/* Of a difference along one axis, as `difference` in motion_field.c codes it. */
INLINE float difference_bits(const Search *s, int axis, int spread, int before, int32_t d) {
    const float some = flag_bits(s, lvc_zero_context(axis, spread, before), d != 0);
    return d ? some + s->class_bits[axis][spread][class_of(d)] : some;
}

/* Of a vector, which is said by difference to the guess from which that costs less. */
INLINE float vector_bits(const Search *s, const Leaf *l, int r, Vector v) {
    const LvcGuesses *g = &l->guess[r];
    float least = INFINITY;
    for (int k = 0; k < g->count; k++) {
        const int32_t x = v.x - g->v[k][0], y = v.y - g->v[k][1];
        const float bits = l->which_bits[r][k] + difference_bits(s, 0, l->spread[r][0], 0, x) +
                           difference_bits(s, 1, l->spread[r][1], abs(x), y);
        if (bits < least) least = bits;
    }
    return least;
}

/* What the vectors of a reference are said by, and what saying which costs. */
static void guess(const Search *s, Leaf *l, int r) {
    l->guess[r] = lvc_guesses(&l->list, r);
    for (int k = 0; k < 2; k++) {
        l->spread[r][k] = lvc_spread(&l->guess[r], k);
        l->which_bits[r][k] = l->guess[r].count > 1 ? flag_bits(s, lvc_guess_context(&l->guess[r]), k) : 0;
    }
}

static void take(Leaf *l, LvcMotion m, float cost, int is_explicit) {
    if (cost < l->cost) l->cost = cost, l->best = m, l->is_explicit = is_explicit;
}

static float both_error(const Search *s, const Leaf *l, LvcMotion m) {
    return s->weight * (float)both_missed(&s->now, s->refs, 8 * l->by, 8 * l->bx, (int)(8 * l->n), m);
}

static void merges(const Search *s, Leaf *l, float before) {
    float bits = before + flag_bits(s, lvc_merge_context(s->frame, s->level, l->by, l->bx, l->n, &l->list), 1);
    for (int k = 0; k < l->list.count; k++) {
        const LvcMotion m = l->list.motion[k];
        float error;
        if (m.mode == 2)
            error = both_error(s, l, m);
        else
            error = s->weight * (float)uni_error(s, l, m.mode, (Vector){m.v[m.mode][0], m.v[m.mode][1]});
        if (k + 1 < l->list.count) {
            const int context = lvc_index_context(s->level, l->n, &l->list, k);
            take(l, m, error + bits + flag_bits(s, context, 0), 0);
            bits += flag_bits(s, context, 1);
        } else {
            take(l, m, error + bits, 0);
        }
    }
}

static void try_one(const Search *s, Leaf *l, int r, Vector v, Best *b) {
    v.x = lvc_bounded(v.x, -LVC_LONGEST, LVC_LONGEST), v.y = lvc_bounded(v.y, -LVC_LONGEST, LVC_LONGEST);
    const float cost = s->weight * (float)uni_error(s, l, r, v) + vector_bits(s, l, r, v);
    if (cost < b->cost) b->cost = cost, b->v = v;
}

/* The best vector of one reference: the candidates', what was found there or by the block's `parent` or quarters, and
   steps around the best. */
static Best one_way(const Search *s, Leaf *l, const Leaf *parent, int r) {
    const LvcFrame *f = s->frame;
    Best b = {{0, 0}, INFINITY};
    for (int k = 0; k < l->guess[r].count; k++) try_one(s, l, r, (Vector){l->guess[r].v[k][0], l->guess[r].v[k][1]}, &b);
    for (int k = 0; k < l->list.count; k++)
        if (lvc_uses(l->list.motion[k], r)) try_one(s, l, r, (Vector){l->list.motion[k].v[r][0], l->list.motion[k].v[r][1]}, &b);
    if (l->n == 1) try_one(s, l, r, parent->ways[r].v, &b);
    if (l->n == 2) try_one(s, l, r, s->found[r][0][l->by / 2 * (f->cols / 2) + l->bx / 2], &b);
    for (int k = 0; k < 4 && l->n > 2; k++) {
        const int64_t at = (l->by + k / 2 * l->n / 2) * f->cols + l->bx + k % 2 * l->n / 2;
        const LvcMotion m = lvc_motion_at(f->mode, f->mv, f->rows * f->cols, at);
        if (lvc_uses(m, r)) try_one(s, l, r, (Vector){m.v[r][0], m.v[r][1]}, &b);
    }
    const int rounds = s->effort > 0 ? (l->n > 1 ? 2 + s->effort : 2) : 1;
    for (int step = s->effort > 0 ? 4 : 2; step; step /= 2)
        for (int round = 0; round < rounds; round++) {
            const Vector from = b.v;
            for (int k = 0; k < s->around; k++)
                try_one(s, l, r, (Vector){from.x + step * CROSS[k].x, from.y + step * CROSS[k].y}, &b);
            if (from.x == b.v.x && from.y == b.v.y) break;
        }
    return b;
}

static float both_cost(const Search *s, const Leaf *l, LvcMotion m) {
    float bits = l->mode_bits[2];
    for (int r = 0; r < 2; r++) bits += vector_bits(s, l, r, (Vector){m.v[r][0], m.v[r][1]});
    return both_error(s, l, m) + bits;
}

/* Both vectors by turns, in steps around what each was alone. */
static void both_ways(const Search *s, Leaf *l) {
    const Best *b = l->ways;
    LvcMotion m = {{{(int16_t)b[0].v.x, (int16_t)b[0].v.y}, {(int16_t)b[1].v.x, (int16_t)b[1].v.y}}, 2};
    float cost = both_cost(s, l, m);
    const float alone = b[0].cost < b[1].cost ? b[0].cost : b[1].cost;
    const int turns = l->n > 1 || s->effort > 1 ? 3 : 2;
    if (s->effort > 0 && cost < 1.1f * alone + 8) {
        for (int step = 2; step; step /= 2)
            for (int turn = 0; turn < turns; turn++) {
                const int r = b[0].cost < b[1].cost ? 1 - turn % 2 : turn % 2; /* the worse one first */
                const LvcMotion from = m;
                for (int k = 0; k < s->around; k++) {
                    LvcMotion t = from;
                    t.v[r][0] = (int16_t)lvc_bounded(t.v[r][0] + step * CROSS[k].x, -LVC_LONGEST, LVC_LONGEST);
                    t.v[r][1] = (int16_t)lvc_bounded(t.v[r][1] + step * CROSS[k].y, -LVC_LONGEST, LVC_LONGEST);
                    const float c = both_cost(s, l, t);
                    if (c < cost) cost = c, m = t;
                }
            }
    }
    take(l, m, cost, 1);
}

/* What is paid before an explicit motion's vectors. */
static void price_modes(const Search *s, Leaf *l) {
    const LvcFrame *f = s->frame;
    const float said = flag_bits(s, lvc_merge_context(f, s->level, l->by, l->bx, l->n, &l->list), 0);
    for (int mode = 0; mode < 3; mode++) l->mode_bits[mode] = said;
    if (f->references < 2) return;
    const int both = lvc_both_context(f, l->by, l->bx, l->n), second = lvc_second_context(f, l->by, l->bx);
    l->mode_bits[2] += flag_bits(s, both, 1);
    for (int mode = 0; mode < 2; mode++) l->mode_bits[mode] += flag_bits(s, both, 0) + flag_bits(s, second, mode);
}

static void explicit_ones(const Search *s, Leaf *l, const Leaf *parent) {
    for (int r = 0; r < s->frame->references; r++) {
        guess(s, l, r);
        l->ways[r] = one_way(s, l, parent, r);
        const Vector v = l->ways[r].v;
        LvcMotion m = {{{0, 0}, {0, 0}}, (uint8_t)r};
        m.v[r][0] = (int16_t)v.x, m.v[r][1] = (int16_t)v.y;
        take(l, m, l->ways[r].cost + l->mode_bits[r], 1);
    }
    if (s->frame->references == 2) both_ways(s, l);
}

/* The cheapest motion of the square of n x n blocks at (by, bx), which is settled in the frame: what it costs. Squares
   of 32 and 64 are searched only where none of their quarters is split. */
static float decided(Search *s, int64_t by, int64_t bx, int64_t n, const Leaf *parent, int *split) {
    const LvcFrame *f = s->frame;
    const int whole = by + n <= f->rows && bx + n <= f->cols;
    float parts = 0;
    Leaf l = {.by = by, .bx = bx, .n = n, .cost = INFINITY};
    *split = 0;
    if (whole) {
        float bits = 0; /* of not being split */
        if (n > 1) {
            const int context = lvc_split_context(f, s->level, by, bx, n);
            bits = flag_bits(s, context, 0), parts = flag_bits(s, context, 1);
        }
        lvc_candidates(f, by, bx, n, &l.list);
        price_modes(s, &l);
        for (int mode = 0; mode < 3; mode++) l.mode_bits[mode] += bits;
        merges(s, &l, bits);
        if (n <= 2 && l.cost > s->settled_bits) explicit_ones(s, &l, parent);
        if (n == 1 || l.cost < (n == 2 ? s->whole_bits : s->settled_bits)) {
            lvc_settle(s->frame, by, bx, n, l.best, l.is_explicit);
            return l.cost;
        }
    }
    int splits = 0;
    for (int k = 0; k < 4; k++) {
        const int64_t y = by + k / 2 * n / 2, x = bx + k % 2 * n / 2;
        int one;
        if (y >= f->rows || x >= f->cols) continue;
        parts += decided(s, y, x, n / 2, &l, &one);
        splits += one;
    }
    if (whole && n > 2 && splits < 2) explicit_ones(s, &l, parent);
    if (parts < l.cost) {
        *split = 1;
        return parts;
    }
    lvc_settle(s->frame, by, bx, n, l.best, l.is_explicit);
    return l.cost;
}

static int reserved(Search *s, Vector **memory) {
    size_t total = 0, sizes[LEVELS];
    for (int k = 0; k < s->now.levels; k++) {
        const Level *p = &s->now.half[k];
        sizes[k] = (size_t)(k ? up(p->height, 8) * up(p->width, 8) : p->height / 16 * (p->width / 16));
        total += sizes[k];
    }
    Vector *next = *memory = malloc(2 * total * sizeof **memory);
    if (!next) return 0;
    for (int r = 0; r < 2; r++)
        for (int k = 0; k < s->now.levels; k++) s->found[r][k] = next, next += sizes[k];
    for (int d = 0; d < COMPONENTS; d++) s->bits[d] = d ? 2 + 2 * log2f((float)d) : 0.7f;
    return 1;
}

/* What flags and vectors cost with a coder's contexts. */
static void price(Search *s, const LvcMotionContexts *c) {
    for (int i = 0; i < LVC_CONTEXTS; i++)
        for (int bit = 0; bit < 2; bit++) s->flag_bits[i][bit] = (float)rans_bit_cost(&c->bit[i], bit) / 256;
    for (int axis = 0; axis < 2; axis++)
        for (int spread = 0; spread < 4; spread++) {
            float bits = 1; /* the sign */
            for (int class = 0; class <= 12; class++) {
                const int at = lvc_class_context(axis, spread, class);
                s->class_bits[axis][spread][class] = bits + (float)class + (class < 12 ? s->flag_bits[at][0] : 0);
                if (class < 12) bits += s->flag_bits[at][1];
            }
        }
}

/* The field of `frame`, whose mode and vectors are written, from pictures of it and of its references (the second NULL:
   none). `weight`: bits of a squared step of 8-bit samples. Returns LVC_OK or LVC_NO_MEMORY; `cost`: its bits. */
static int32_t search(uint8_t *now, uint8_t *ref0, uint8_t *ref1, LvcFrame *frame, int32_t level,
                      const LvcMotionContexts *contexts, float weight, int32_t effort, float *cost) {
    const int64_t height = 8 * frame->rows, width = 8 * frame->cols;
    uint8_t *const memories[2] = {ref0, ref1};
    int32_t apart = 0; /* the farther the references the wider the search */
    for (int r = 0; r < frame->references; r++) {
        const int32_t d = frame->to[r] - frame->time;
        if (abs(d) > apart) apart = abs(d);
    }
    const int radius = apart < 6 ? 6 + apart : 12;
    Search *s = calloc(1, sizeof *s);
    Vector *memory = NULL;
    if (!s) return LVC_NO_MEMORY;
    s->frame = frame, s->weight = weight, s->effort = effort, s->level = lvc_level_class(level);
    s->around = effort > 1 ? 8 : 4, s->settled_bits = effort > 1 ? 3 : 6, s->whole_bits = effort > 1 ? 12 : effort ? 20 : 24;
    price(s, contexts);
    laid_out(now, height, width, 1, &s->now);
    for (int r = 0; r < frame->references; r++) {
        laid_out(memories[r], height, width, PHASES * PHASES, &s->pictures[r]);
        s->refs[r] = &s->pictures[r];
    }
    const int ready = reserved(s, &memory);
    if (ready) {
        for (int r = 0; r < frame->references; r++) {
            for (int level = s->now.levels - 1; level; level--) search_level(s, r, level, radius);
            search_blocks(s, r);
        }
        memset(frame->known, 0, (size_t)(frame->rows * frame->cols));
        int split;
        *cost = 0;
        for (int64_t y = 0; y < frame->rows; y += LVC_SUPER)
            for (int64_t x = 0; x < frame->cols; x += LVC_SUPER) *cost += decided(s, y, x, LVC_SUPER, NULL, &split);
    }
    free(memory);
    free(s);
    return ready ? LVC_OK : LVC_NO_MEMORY;
}
