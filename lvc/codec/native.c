/* Motion in C: the same integers as compensate.py and motion_decision.py, which explain them and do without this where no
   compiler was at hand when lvc was built. Planes are contiguous; callers have checked shapes. Nothing is kept. */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* A vector unit is chosen when the library is loaded, where the C library can. */
#if defined(__linux__) && defined(__x86_64__) && defined(__GLIBC__) && defined(__GNUC__) && !defined(__clang__)
#define FAST __attribute__((target_clones("avx2", "default")))
#else
#define FAST
#endif
#define INLINE static inline __attribute__((always_inline))
#define TAPS 6
#define LEAD 2 /* samples of a filter before its own */
#define LARGEST 12 /* block and ramp */
#define WINDOW (LARGEST + TAPS - 1)

/* Of which text this was made, for whoever loads it. */
uint32_t lvc_native_source(void) { return LVC_SOURCE; }

INLINE int64_t bounded(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

/* ---- compensation ---- */

/* n x n samples of a plane from (y, x) moved by a vector in 1 / (1 << shift) samples, to out with LARGEST a row. */
INLINE void moved(const int16_t *plane, int64_t height, int64_t width, int64_t y, int64_t x, int64_t vy, int64_t vx,
                  const int16_t *filters, int shift, int top, int n, int32_t *restrict out) {
    int16_t edge[WINDOW * WINDOW];
    int32_t across[WINDOW * LARGEST];
    const int size = n + TAPS - 1, mask = (1 << shift) - 1;
    const int16_t *fy = filters + TAPS * (vy & mask), *fx = filters + TAPS * (vx & mask);
    y += (vy >> shift) - LEAD;
    x += (vx >> shift) - LEAD;
    const int16_t *from = edge; /* a pointer to the window is made only if all of it is inside the plane */
    int64_t stride = WINDOW;
    if (y < 0 || x < 0 || y + size > height || x + size > width) { /* edge samples go on for ever */
        for (int i = 0; i < size; i++)
            for (int j = 0; j < size; j++)
                edge[i * WINDOW + j] = plane[bounded(y + i, 0, height - 1) * width + bounded(x + j, 0, width - 1)];
    } else {
        from = plane + y * width + x;
        stride = width;
    }
    if (!(vx & mask) && !(vy & mask)) {
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) out[i * LARGEST + j] = from[(i + LEAD) * stride + j + LEAD];
        return;
    }
    if (vx & mask) {
        const int32_t a = fx[0], b = fx[1], c = fx[2], d = fx[3], e = fx[4], f = fx[5];
        for (int i = 0; i < size; i++) {
            const int16_t *p = from + i * stride;
            for (int j = 0; j < n; j++)
                across[i * LARGEST + j] =
                    (a * p[j] + b * p[j + 1] + c * p[j + 2] + d * p[j + 3] + e * p[j + 4] + f * p[j + 5] + 32) >> 6;
        }
    } else {
        for (int i = 0; i < size; i++)
            for (int j = 0; j < n; j++) across[i * LARGEST + j] = from[i * stride + j + LEAD];
    }
    const int32_t a = fy[0], b = fy[1], c = fy[2], d = fy[3], e = fy[4], f = fy[5];
    for (int i = 0; i < n; i++) {
        const int32_t *p = across + i * LARGEST;
        for (int j = 0; j < n; j++) {
            int32_t v = (a * p[j] + b * p[j + LARGEST] + c * p[j + 2 * LARGEST] + d * p[j + 3 * LARGEST] +
                         e * p[j + 4 * LARGEST] + f * p[j + 5 * LARGEST] + 32) >> 6;
            out[i * LARGEST + j] = v < 0 ? 0 : v > top ? top : v;
        }
    }
}

/* Add a window of n x n, weighted along both axes, to the sums of its row of blocks. */
INLINE void add(int32_t *restrict sums, int64_t stride, const int32_t *restrict window, const int32_t *down,
                const int32_t *along, int n) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++) sums[i * stride + j] += down[i] * along[j] * window[i * LARGEST + j];
}

/* One plane; block, ramp and shift are constants where this is inlined. `kind` of a block: 0 nothing to blend near it,
   1 its neighbours have its vector but theirs have not, 2 blended. `sums`: [block + ramp][cols * block + ramp], zeros. */
INLINE void plane_moved(const int16_t *restrict plane, int64_t rows, int64_t cols, const int16_t *restrict motion,
                        const uint8_t *restrict kind, const int16_t *filters, int top, int block, int ramp, int shift,
                        int32_t *restrict sums, int16_t *restrict out) {
    const int64_t height = rows * block, width = cols * block, stride = width + ramp;
    const int half = ramp / 2, full = 2 * ramp, size = block + ramp, bits = ramp == 4 ? 6 : 4;
    int32_t ramps[LARGEST], down[LARGEST], along[LARGEST], window[LARGEST * LARGEST];
    for (int i = 0; i < size; i++) ramps[i] = full;
    for (int i = 0; i < ramp; i++) ramps[i] = ramps[size - 1 - i] = 2 * i + 1;
    for (int64_t r = 0; r < rows; r++) {
        memcpy(down, ramps, sizeof down);
        for (int i = half; r == 0 && i < ramp; i++) down[i] = full; /* at the edges a block is its own neighbour */
        for (int i = block; r == rows - 1 && i < block + half; i++) down[i] = full;
        for (int64_t c = 0; c < cols; c++) {
            const int64_t at = r * cols + c, y = r * block, x = c * block;
            const int64_t vx = motion[at], vy = motion[rows * cols + at];
            int16_t *to = out + y * width + x;
            if (kind[at] == 0) {
                if (vx == 0 && vy == 0) {
                    for (int i = 0; i < block; i++)
                        memcpy(to + i * width, plane + (y + i) * width + x, block * sizeof *to);
                } else {
                    moved(plane, height, width, y, x, vy, vx, filters, shift, top, block, window);
                    for (int i = 0; i < block; i++)
                        for (int j = 0; j < block; j++) to[i * width + j] = (int16_t)window[i * LARGEST + j];
                }
                continue;
            }
            memcpy(along, ramps, sizeof along);
            for (int i = half; c == 0 && i < ramp; i++) along[i] = full;
            for (int i = block; c == cols - 1 && i < block + half; i++) along[i] = full;
            moved(plane, height, width, y - half, x - half, vy, vx, filters, shift, top, size, window);
            add(sums + x, stride, window, down, along, size);
            if (kind[at] == 1)
                for (int i = 0; i < block; i++)
                    for (int j = 0; j < block; j++)
                        to[i * width + j] = (int16_t)window[(half + i) * LARGEST + half + j];
        }
        /* no later row of blocks reaches these lines: the last `half` of the row before, and all of this but its last */
        const int64_t first = r ? r * block - half : 0, end = r == rows - 1 ? height : (r + 1) * block - half;
        for (int64_t y = first; y < end; y++) {
            const int32_t *line = sums + (y - r * block + half) * stride + half;
            const uint8_t *row = kind + y / block * cols;
            for (int64_t c = 0; c < cols; c++)
                if (row[c] == 2)
                    for (int j = 0; j < block; j++)
                        out[y * width + c * block + j] = (int16_t)((line[c * block + j] + (1 << (bits - 1))) >> bits);
        }
        memmove(sums, sums + block * stride, ramp * stride * sizeof *sums);
        memset(sums + ramp * stride, 0, block * stride * sizeof *sums);
    }
}

static void kinds(const int16_t *motion, int64_t rows, int64_t cols, uint8_t *kind) {
    const int16_t *other = motion + rows * cols;
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            int differ = 0;
            for (int64_t y = bounded(r - 1, 0, rows); y < bounded(r + 2, 0, rows); y++)
                for (int64_t x = bounded(c - 1, 0, cols); x < bounded(c + 2, 0, cols); x++)
                    differ |= motion[y * cols + x] != motion[r * cols + c] || other[y * cols + x] != other[r * cols + c];
            kind[r * cols + c] = differ ? 2 : 0;
        }
    for (int64_t r = 0; r < rows; r++)
        for (int64_t c = 0; c < cols; c++) {
            if (kind[r * cols + c]) continue;
            int near = 0;
            for (int64_t y = bounded(r - 1, 0, rows); y < bounded(r + 2, 0, rows); y++)
                for (int64_t x = bounded(c - 1, 0, cols); x < bounded(c + 2, 0, cols); x++)
                    near |= kind[y * cols + x] == 2;
            kind[r * cols + c] = (uint8_t)near;
        }
}

/* y int16 [8·rows,8·cols], uv int16 [2,4·rows,4·cols], motion int16 [2,rows,cols]; luma [4,6] and chroma [8,6] filters.
   Returns 0, or -1 without memory. */
FAST int32_t lvc_compensate(const int16_t *y, const int16_t *uv, const int16_t *motion, int64_t rows, int64_t cols,
                            const int16_t *luma, const int16_t *chroma, int32_t top, int16_t *out_y, int16_t *out_uv) {
    const int64_t lines = 8 + 4, stride = cols * 8 + 4, small = 16 * rows * cols;
    uint8_t *kind = malloc(rows * cols);
    int32_t *sums = malloc(lines * stride * sizeof *sums);
    if (kind && sums) {
        kinds(motion, rows, cols, kind);
        memset(sums, 0, lines * stride * sizeof *sums);
        plane_moved(y, rows, cols, motion, kind, luma, top, 8, 4, 2, sums, out_y);
        for (int c = 0; c < 2; c++) {
            memset(sums, 0, lines * stride * sizeof *sums);
            plane_moved(uv + c * small, rows, cols, motion, kind, chroma, top, 4, 2, 3, sums, out_uv + c * small);
        }
    }
    const int32_t failed = !kind || !sums ? -1 : 0;
    free(kind);
    free(sums);
    return failed;
}

/* ---- the decision of motion ---- */

#define MARGIN (16 + TAPS)
#define PHASES 4
#define KNOWN 32 /* candidates of a block: 3 + 4 + 1 + 4 + 2 * 4 */

typedef struct {
    const uint8_t *now; /* the frame */
    uint8_t *planes;    /* the reconstruction, padded, at every phase */
    int16_t *across;    /* filtered along rows only, for three phases */
    int16_t *line;      /* room for a line */
    const int16_t *filters;
    int64_t height, width, padded_height, padded_width;
    uint8_t filled[PHASES * PHASES], across_filled[PHASES];
    float weight;
} Blocks;

/* A line of samples filtered across its neighbours that are `step` apart, rounded. */
#define FILTERED(NAME, SAMPLE)                                                                                           \
    INLINE void NAME(const SAMPLE *restrict p, int64_t step, const int16_t *taps, int64_t n, int16_t *restrict to) {     \
        const int16_t a = taps[0], b = taps[1], c = taps[2], d = taps[3], e = taps[4], f = taps[5];                      \
        for (int64_t x = 0; x < n; x++)                                                                                  \
            to[x] = (int16_t)((a * p[x] + b * p[x + step] + c * p[x + 2 * step] + d * p[x + 3 * step] +                  \
                               e * p[x + 4 * step] + f * p[x + 5 * step] + 32) >> 6);                                    \
    }
FILTERED(filtered_bytes, uint8_t)
FILTERED(filtered_words, int16_t)

INLINE void clamped(const int16_t *restrict p, int64_t n, uint8_t *restrict to) {
    for (int64_t x = 0; x < n; x++) to[x] = (uint8_t)(p[x] < 0 ? 0 : p[x] > 255 ? 255 : p[x]);
}

/* The plane at 4·fy + fx, filtered when first asked for; no window reaches its outermost samples. */
INLINE const uint8_t *at_phase(Blocks *b, int fy, int fx) {
    const int64_t width = b->padded_width, size = b->padded_height * width, inner = width - TAPS + 1;
    uint8_t *out = b->planes + (PHASES * fy + fx) * size;
    if (b->filled[PHASES * fy + fx]) return out;
    int16_t *wide = fx ? b->across + (fx - 1) * size : NULL;
    if (fx && !b->across_filled[fx]) {
        for (int64_t y = 0; y < b->padded_height; y++)
            filtered_bytes(b->planes + y * width, 1, b->filters + TAPS * fx, inner, wide + y * width + LEAD);
        b->across_filled[fx] = 1;
    }
    for (int64_t y = 0; y < b->padded_height - TAPS + 1; y++) {
        const int16_t *taps = b->filters + TAPS * fy, *line = b->line;
        if (!fx)
            filtered_bytes(b->planes + y * width + LEAD, width, taps, inner, b->line);
        else if (fy)
            filtered_words(wide + y * width + LEAD, width, taps, inner, b->line);
        else
            line = wide + (y + LEAD) * width + LEAD;
        clamped(line, inner, out + (y + LEAD) * width + LEAD);
    }
    b->filled[PHASES * fy + fx] = 1;
    return out;
}

/* The prediction of the square at (top, left) with a vector, padded_width a row. */
INLINE const uint8_t *predicted(Blocks *b, int64_t top, int64_t left, int64_t vx, int64_t vy, int size) {
    const uint8_t *plane = at_phase(b, vy & (PHASES - 1), vx & (PHASES - 1));
    const int64_t y = bounded(top + MARGIN + (vy >> 2), LEAD, b->padded_height - size - TAPS + 1 + LEAD);
    const int64_t x = bounded(left + MARGIN + (vx >> 2), LEAD, b->padded_width - size - TAPS + 1 + LEAD);
    return plane + y * b->padded_width + x;
}

INLINE int32_t absolute(Blocks *b, int64_t top, int64_t left, int64_t vx, int64_t vy, int size) {
    const uint8_t *p = predicted(b, top, left, vx, vy, size), *q = b->now + top * b->width + left;
    int32_t sum = 0;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) sum += abs(p[i * b->padded_width + j] - q[i * b->width + j]);
    return sum;
}

/* Squared error, in bits. */
INLINE float missed(Blocks *b, int64_t top, int64_t left, int64_t vx, int64_t vy, int size) {
    const uint8_t *p = predicted(b, top, left, vx, vy, size), *q = b->now + top * b->width + left;
    int32_t sum = 0;
    for (int i = 0; i < size; i++)
        for (int j = 0; j < size; j++) {
            const int16_t d = (int16_t)(p[i * b->padded_width + j] - q[i * b->width + j]);
            sum += d * d;
        }
    return (float)sum * b->weight;
}

typedef struct { int32_t x, y; } Vector;

typedef struct {
    const float *component; /* bits of a component's difference */
    int64_t components;
    float same, like, new_one, split, settled;
    int32_t limit;
} Prices;

INLINE float component(const Prices *p, int32_t d) {
    const int64_t size = d < 0 ? -(int64_t)d : d;
    return p->component[size < p->components ? size : p->components - 1];
}

INLINE float vector_price(const Prices *p, Vector v, Vector guess, const Vector *slots, int n) {
    if (v.x == guess.x && v.y == guess.y) return p->same;
    float least = component(p, v.x - guess.x) + component(p, v.y - guess.y);
    for (int k = 0; k < n; k++) {
        if (v.x == slots[k].x && v.y == slots[k].y) return p->like;
        const float bits = component(p, v.x - slots[k].x) + component(p, v.y - slots[k].y);
        if (bits < least) least = bits;
    }
    return p->new_one + least;
}

/* The k-th smallest of a few. */
INLINE int32_t ranked(const int32_t *values, int n, int k) {
    int32_t sorted[5];
    for (int i = 0; i < n; i++) {
        int j = i;
        for (; j > 0 && sorted[j - 1] > values[i]; j--) sorted[j] = sorted[j - 1];
        sorted[j] = values[i];
    }
    return sorted[k];
}

INLINE Vector median(const Vector *v, int n, int k) {
    int32_t xs[5], ys[5];
    for (int i = 0; i < n; i++) xs[i] = v[i].x, ys[i] = v[i].y;
    return (Vector){ranked(xs, n, k), ranked(ys, n, k)};
}

typedef struct {
    Vector seen[KNOWN], best, guess;
    const Vector *slots;
    int known, n_slots;
    float cost;
} Choice;

/* Look at candidates of the block at (top, left), as MotionDecision's _Best does. */
INLINE void offer(Blocks *b, const Prices *prices, Choice *c, int64_t top, int64_t left, const Vector *some, int n) {
    if (!(c->cost > prices->settled)) return;
    for (int k = 0; k < n; k++) {
        const Vector v = {(int32_t)bounded(some[k].x, -prices->limit, prices->limit),
                          (int32_t)bounded(some[k].y, -prices->limit, prices->limit)};
        int old = 0;
        for (int i = 0; i < c->known; i++) old |= c->seen[i].x == v.x && c->seen[i].y == v.y;
        c->seen[c->known++] = v;
        if (old) continue;
        const float cost = missed(b, top, left, v.x, v.y, 16) + vector_price(prices, v, c->guess, c->slots, c->n_slots);
        if (cost < c->cost) c->cost = cost, c->best = v;
    }
}

/* What the decision and the choice of motion are given, and how their memory is laid out. reference, frame uint8
   [16·rows,16·cols]; found, out int16 [2,2·rows,2·cols]; last, base int16 [2,rows,cols], base is written; order int32
   [rows·cols] and near int32 [rows·cols,4] places of blocks in coding order and of their neighbours (-1: none); planes
   uint8 [16,h,w] and across int16 [4,h,w] are written, of the padded size. */
typedef struct {
    const uint8_t *reference, *frame;
    const int16_t *found, *last;
    const int32_t *order, *near;
    const int16_t *filters;
    const float *component_bits;
    uint8_t *planes;
    int16_t *across, *base, *out;
    int64_t rows, cols, components;
} Fields;

INLINE Blocks started(const Fields *f, float weight) {
    Blocks b = {.now = f->frame, .planes = f->planes, .across = f->across, .filters = f->filters,
                .height = 16 * f->rows, .width = 16 * f->cols, .padded_height = 16 * f->rows + 2 * MARGIN,
                .padded_width = 16 * f->cols + 2 * MARGIN, .filled = {1}, .across_filled = {1}, .weight = weight};
    b.line = f->across + 3 * b.padded_height * b.padded_width;
    for (int64_t y = 0; y < b.padded_height; y++) {
        const uint8_t *from = f->reference + bounded(y - MARGIN, 0, b.height - 1) * b.width;
        uint8_t *to = f->planes + y * b.padded_width;
        memset(to, from[0], MARGIN);
        memcpy(to + MARGIN, from, b.width);
        memset(to + MARGIN + b.width, from[b.width - 1], MARGIN);
    }
    return b;
}

/* One block on its way: where it is, the vectors searched for its quarters, and the slots it may be predicted by (the
   last of which is the last field's). */
typedef struct {
    int64_t at, top, left, place[4];
    Vector corners[4], slots[5], guess;
    int n_slots, split;
} Block;

INLINE Block block_of(const Fields *f, int64_t k) {
    const int64_t blocks = f->rows * f->cols, row = f->order[k] / f->cols, col = f->order[k] % f->cols;
    Block v = {.at = f->order[k], .top = 16 * row, .left = 16 * col};
    for (int q = 0; q < 4; q++) {
        v.place[q] = (2 * row + q / 2) * 2 * f->cols + 2 * col + q % 2;
        v.corners[q] = (Vector){f->found[v.place[q]], f->found[4 * blocks + v.place[q]]};
        v.split |= v.corners[q].x != v.corners[0].x || v.corners[q].y != v.corners[0].y;
    }
    for (int n = 0; n < 4 && f->near[4 * k + n] >= 0; n++)
        v.slots[v.n_slots++] = (Vector){f->base[f->near[4 * k + n]], f->base[blocks + f->near[4 * k + n]]};
    v.slots[v.n_slots] = (Vector){f->last[v.at], f->last[blocks + v.at]};
    v.guess = median(v.slots, v.n_slots + 1, v.n_slots / 2);
    v.n_slots++;
    return v;
}

INLINE void settle(const Fields *f, const Block *v, Vector best, int split) {
    const int64_t blocks = f->rows * f->cols;
    f->base[v->at] = (int16_t)best.x, f->base[blocks + v->at] = (int16_t)best.y;
    for (int q = 0; q < 4; q++) {
        f->out[v->place[q]] = (int16_t)(split ? v->corners[q].x : best.x);
        f->out[4 * blocks + v->place[q]] = (int16_t)(split ? v->corners[q].y : best.y);
    }
}

/* Bits of a vector less another; of a split block's other quarters. */
INLINE float apart(const Prices *p, Vector a, Vector b) {
    return a.x == b.x && a.y == b.y ? 0.4f : 2.0f + component(p, a.x - b.x) + component(p, a.y - b.y);
}

INLINE float inside(const Prices *p, const Vector *corners) {
    float bits = apart(p, corners[1], corners[0]) + apart(p, corners[2], corners[0]);
    bits += apart(p, corners[3], corners[0]);
    return bits + p->split;
}

/* MotionDecision.decide. prices: same, like, new, split, settled. */
FAST void lvc_decide(const Fields *f, float weight, const float *prices_given, int32_t limit) {
    const float *g = prices_given;
    const Prices prices = {f->component_bits, f->components, g[0], g[1], g[2], g[3], g[4], limit};
    Blocks b = started(f, weight);
    for (int64_t k = 0; k < f->rows * f->cols; k++) {
        const Block v = block_of(f, k);
        Vector some[9];
        const int n = v.n_slots - 1;
        Choice c = {.best = v.guess, .guess = v.guess, .slots = v.slots, .n_slots = v.n_slots, .cost = __builtin_inff()};
        some[0] = v.guess, some[1] = v.slots[n], some[2] = median(v.corners, 4, 1);
        offer(&b, &prices, &c, v.top, v.left, some, 3);
        memcpy(some, v.slots, n * sizeof *some);
        some[n] = (Vector){0, 0};
        memcpy(some + n + 1, v.corners, sizeof v.corners);
        offer(&b, &prices, &c, v.top, v.left, some, n + 5);
        for (int step = 2; step; step--) {
            const Vector at = c.best;
            some[0] = (Vector){at.x + step, at.y}, some[1] = (Vector){at.x - step, at.y};
            some[2] = (Vector){at.x, at.y + step}, some[3] = (Vector){at.x, at.y - step};
            offer(&b, &prices, &c, v.top, v.left, some, 4);
        }
        int split = v.split && c.cost > prices.settled;
        if (split) {
            float error = 0;
            for (int q = 0; q < 4; q++) {
                const int64_t top = v.top + q / 2 * 8, left = v.left + q % 2 * 8;
                const float e = missed(&b, top, left, v.corners[q].x, v.corners[q].y, 8);
                error = q == 0 ? e : error + e;
            }
            float cost = vector_price(&prices, v.corners[0], v.guess, v.slots, v.n_slots) + inside(&prices, v.corners);
            cost += error;
            split = cost < c.cost;
        }
        settle(f, &v, split ? v.corners[0] : c.best, split);
    }
}

/* MotionChoice.choose; `split`: bits of being split. Returns the sum of absolute errors. */
FAST int64_t lvc_choose(const Fields *f, float price, float split_bits) {
    const Prices prices = {.component = f->component_bits, .components = f->components, .split = split_bits};
    Blocks b = started(f, 0);
    int64_t total = 0;
    for (int64_t k = 0; k < f->rows * f->cols; k++) {
        const Block v = block_of(f, k);
        const Vector some[4] = {v.guess, v.slots[v.n_slots - 1], median(v.corners, 4, 1), v.corners[0]};
        float least = 0;
        int32_t taken = 0;
        int best = -1;
        for (int i = 0; i < 3 + v.split; i++) {
            int32_t error = 0;
            float bits = apart(&prices, some[i], v.guess);
            if (i == 3) {
                for (int q = 0; q < 4; q++)
                    error += absolute(&b, v.top + q / 2 * 8, v.left + q % 2 * 8, v.corners[q].x, v.corners[q].y, 8);
                bits += inside(&prices, v.corners);
            } else {
                error = absolute(&b, v.top, v.left, some[i].x, some[i].y, 16);
            }
            const float cost = (float)error + price * bits;
            if (best < 0 || cost < least) best = i, least = cost, taken = error;
        }
        total += taken;
        settle(f, &v, some[best], best == 3);
    }
    return total;
}
