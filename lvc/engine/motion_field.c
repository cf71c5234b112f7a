/* Coding of motion fields and flags: merge candidates, the quadtree, contexts. motion_reference.py is the readable
   version. */

#include "motion.h"
#include "motion_start.h"

#include <stdlib.h>
#include <string.h>

/* v * num / den, rounded to the nearest integer, halves away from 0. */
static int16_t scaled(int32_t v, int32_t num, int32_t den) {
    int32_t product = v * num;
    if (den < 0) product = -product, den = -den;
    const int32_t q = product < 0 ? -((den / 2 - product) / den) : (product + den / 2) / den;
    return (int16_t)lvc_bounded(q, -LVC_LONGEST, LVC_LONGEST);
}

/* The temporal candidate: reference k's motion at a block, scaled to this frame's distances. Returns 0 if none. */
int lvc_temporal(const LvcFrame *f, int k, int64_t by, int64_t bx, LvcMotion *out) {
    const LvcField *from = &f->fields[k];
    const int64_t at = (by < f->rows ? by : f->rows - 1) * f->cols + (bx < f->cols ? bx : f->cols - 1);
    if (!from->mode) return 0;
    const LvcMotion m = lvc_motion_at(from->mode, from->mv, f->rows * f->cols, at);
    int which = m.mode;
    if (which == 2) which = (from->to[0] > from->time) == (f->time > from->time) ? 0 : 1;
    const int32_t den = from->to[which] - from->time;
    LvcMotion made = {{{0, 0}, {0, 0}}, (uint8_t)(f->references == 2 ? 2 : 0)};
    for (int r = 0; r < f->references; r++)
        for (int i = 0; i < 2; i++) made.v[r][i] = scaled(m.v[which][i], f->to[r] - f->time, den);
    *out = made;
    return 1;
}

static void offer(LvcCandidates *c, LvcMotion m) {
    for (int i = 0; i < c->count; i++)
        if (lvc_same(c->motion[i], m)) {
            c->times[i]++;
            return;
        }
    if (c->count == LVC_CANDIDATES) return;
    c->motion[c->count] = m;
    c->times[c->count++] = 1;
}

static void neighbour(const LvcFrame *f, int64_t y, int64_t x, LvcCandidates *c) {
    if (y < 0 || x < 0 || y >= f->rows || x >= f->cols || !f->known[y * f->cols + x]) return;
    offer(c, lvc_motion_at(f->mode, f->mv, f->rows * f->cols, y * f->cols + x));
}

/* Lists the merge candidates of the n x n blocks at (by, bx). */
void lvc_candidates(const LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcCandidates *out) {
    const int64_t y = by + n / 2, x = bx + n / 2;
    const LvcMotion zero = {{{0, 0}, {0, 0}}, (uint8_t)(f->references == 2 ? 2 : 0)};
    LvcMotion then;
    out->count = 0;
    neighbour(f, by + n - 1, bx - 1, out);
    neighbour(f, by - 1, bx + n - 1, out);
    if (f->references == 2 && lvc_temporal(f, 1, y, x, &then)) offer(out, then);
    neighbour(f, by - 1, bx + n, out);
    if (lvc_temporal(f, 0, y, x, &then)) offer(out, then);
    neighbour(f, by + n, bx - 1, out);
    offer(out, zero);
    neighbour(f, by - 1, bx - 1, out);
}

/* The vector predictors of a reference: the first two distinct vectors of the candidates; (0, 0) if there are none. */
LvcGuesses lvc_guesses(const LvcCandidates *c, int reference) {
    LvcGuesses g = {{{0, 0}, {0, 0}}, 0};
    for (int k = 0; k < c->count && g.count < 2; k++) {
        const int16_t *v = c->motion[k].v[reference];
        if (!lvc_uses(c->motion[k], reference) || (g.count && v[0] == g.v[0][0] && v[1] == g.v[0][1])) continue;
        g.v[g.count][0] = v[0], g.v[g.count++][1] = v[1];
    }
    if (!g.count) g.count = 1;
    return g;
}

static int log_of(int64_t n) { return n == 8 ? 3 : n == 4 ? 2 : n == 2 ? 1 : 0; }

void lvc_settle(LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcMotion m, int is_explicit) {
    const int64_t blocks = f->rows * f->cols;
    const uint8_t known = (uint8_t)((1 + log_of(n)) | (is_explicit ? LVC_EXPLICIT : 0));
    for (int64_t y = by; y < by + n; y++)
        for (int64_t x = bx; x < bx + n; x++) {
            const int64_t at = y * f->cols + x;
            f->mode[at] = m.mode;
            for (int i = 0; i < 4; i++) f->mv[i * blocks + at] = m.v[i / 2][i % 2];
            f->known[at] = known;
        }
}

/* ---- coding ---- */

typedef struct {
    Rans *rans;
    LvcMotionContexts *contexts;
    LvcFrame *frame;
    int level; /* 0, 1, or 2 for all below */
    int bad;
} Coding;

static int code_flag(Rans *r, LvcMotionContexts *c, int context, int bit) {
    const int coded = rans_code_bit(r, &c->bit[context], bit);
    if (c->counts) c->counts[context][coded]++;
    return coded;
}

static int flag(const Coding *c, int context, int bit) { return code_flag(c->rans, c->contexts, context, bit); }

static int known_at(const LvcFrame *f, int64_t y, int64_t x) { return y < 0 || x < 0 ? 0 : f->known[y * f->cols + x]; }

static int uniform(const uint8_t *mode, const int16_t *mv, const LvcFrame *f, int64_t by, int64_t bx, int64_t n) {
    const int64_t blocks = f->rows * f->cols;
    const LvcMotion first = lvc_motion_at(mode, mv, blocks, by * f->cols + bx);
    for (int64_t y = by; y < by + n; y++)
        for (int64_t x = bx; x < bx + n; x++)
            if (!lvc_same(first, lvc_motion_at(mode, mv, blocks, y * f->cols + x))) return 0;
    return 1;
}

int lvc_level_class(int level) { return level < 2 ? level : 2; }

/* Counts the neighbours (left, above) with leaves smaller than n, and the references whose motion varies there. */
int lvc_split_context(const LvcFrame *f, int level, int64_t by, int64_t bx, int64_t n) {
    const int left = known_at(f, by, bx - 1) & ~LVC_EXPLICIT, above = known_at(f, by - 1, bx) & ~LVC_EXPLICIT;
    const int smaller = (left && left <= log_of(n)) + (above && above <= log_of(n));
    int busy = 0;
    for (int k = 0; k < f->references; k++)
        busy += f->fields[k].mode && !uniform(f->fields[k].mode, f->fields[k].mv, f, by, bx, n);
    return AT_SPLIT + ((3 - log_of(n)) * 9 + smaller * 3 + busy) * 3 + level;
}

static int often(int times) { return times < 3 ? times - 1 : 2; }

/* Counts the neighbours (left, above) with explicit motion; and how often the first candidate was offered. */
int lvc_merge_context(const LvcFrame *f, int level, int64_t by, int64_t bx, int64_t n, const LvcCandidates *list) {
    const int said = (known_at(f, by, bx - 1) >> 7) + (known_at(f, by - 1, bx) >> 7);
    return AT_MERGE + ((log_of(n) * 3 + said) * 3 + often(list->times[0])) * 3 + level;
}

int lvc_index_context(int level, int64_t n, const LvcCandidates *list, int k) {
    return AT_INDEX + ((k * 3 + often(list->times[k])) * 4 + log_of(n)) * 3 + level;
}

/* Counts the neighbours (left, above) of a mode. */
static int modes(const LvcFrame *f, int64_t by, int64_t bx, int mode) {
    return (known_at(f, by, bx - 1) && f->mode[by * f->cols + bx - 1] == mode) +
           (known_at(f, by - 1, bx) && f->mode[(by - 1) * f->cols + bx] == mode);
}

int lvc_both_context(const LvcFrame *f, int64_t by, int64_t bx, int64_t n) {
    return AT_BOTH + log_of(n) * 3 + modes(f, by, bx, 2);
}

int lvc_second_context(const LvcFrame *f, int64_t by, int64_t bx) {
    return AT_SECOND + lvc_bounded(1 + modes(f, by, bx, 1) - modes(f, by, bx, 0), 0, 2);
}

/* The class of distance between the two vector predictors along an axis. */
int lvc_spread(const LvcGuesses *g, int axis) {
    if (g->count < 2) return 0;
    const int d = g->v[0][axis] - g->v[1][axis], size = d < 0 ? -d : d;
    return size <= 2 ? 1 : size <= 12 ? 2 : 3;
}

int lvc_guess_context(const LvcGuesses *g) {
    const int x = lvc_spread(g, 0), y = lvc_spread(g, 1);
    return AT_GUESS + (x > y ? x : y);
}

/* Codes a vector difference along one axis: whether it is 0, its size's class (powers of two), remainder, sign. */
static int difference(const Coding *c, int axis, int spread, int before, int d) {
    int size = d < 0 ? -d : d, class = 0;
    if (!flag(c, lvc_zero_context(axis, spread, before), d != 0)) return 0;
    while (class < 12 && flag(c, lvc_class_context(axis, spread, class), size >= 2 << class)) class++;
    size = (1 << class) + (int)rans_code_raw(c->rans, class, (uint32_t)(size - (1 << class)));
    return rans_code_raw(c->rans, 1, d < 0) ? -size : size;
}

/* Codes a vector as the difference to one of its predictors; an encoder takes the nearer. */
static void vector(Coding *c, const LvcCandidates *list, int reference, int16_t v[2]) {
    const LvcGuesses g = lvc_guesses(list, reference);
    int which = 0;
    if (g.count > 1) {
        int far[2];
        for (int k = 0; k < 2; k++) far[k] = abs(v[0] - g.v[k][0]) + abs(v[1] - g.v[k][1]);
        which = flag(c, lvc_guess_context(&g), far[1] < far[0]);
    }
    const int16_t *from = g.v[which];
    const int x = difference(c, 0, lvc_spread(&g, 0), 0, v[0] - from[0]);
    const int y = difference(c, 1, lvc_spread(&g, 1), abs(x), v[1] - from[1]);
    const int32_t made[2] = {from[0] + x, from[1] + y};
    for (int i = 0; i < 2; i++) {
        if (made[i] < -LVC_LONGEST || made[i] > LVC_LONGEST) c->bad = 1;
        v[i] = (int16_t)lvc_bounded(made[i], -LVC_LONGEST, LVC_LONGEST);
    }
}

static void explicit_motion(Coding *c, const LvcCandidates *list, int64_t by, int64_t bx, int64_t n, LvcMotion *m) {
    const LvcFrame *f = c->frame;
    if (f->references < 2)
        m->mode = 0;
    else if (flag(c, lvc_both_context(f, by, bx, n), m->mode == 2))
        m->mode = 2;
    else
        m->mode = (uint8_t)flag(c, lvc_second_context(f, by, bx), m->mode == 1);
    for (int r = 0; r < 2; r++) {
        if (lvc_uses(*m, r))
            vector(c, list, r, m->v[r]);
        else
            m->v[r][0] = m->v[r][1] = 0;
    }
}

static void leaf(Coding *c, int64_t by, int64_t bx, int64_t n) {
    LvcFrame *f = c->frame;
    LvcCandidates list;
    LvcMotion m = {{{0, 0}, {0, 0}}, 0};
    int index = 0;
    lvc_candidates(f, by, bx, n, &list);
    if (!c->rans->reading) {
        m = lvc_motion_at(f->mode, f->mv, f->rows * f->cols, by * f->cols + bx);
        while (index < list.count && !lvc_same(list.motion[index], m)) index++;
    }
    if (!flag(c, lvc_merge_context(f, c->level, by, bx, n, &list), index < list.count)) {
        explicit_motion(c, &list, by, bx, n, &m);
        lvc_settle(f, by, bx, n, m, 1);
        return;
    }
    int k = 0;
    while (k + 1 < list.count && flag(c, lvc_index_context(c->level, n, &list, k), k < index)) k++;
    lvc_settle(f, by, bx, n, list.motion[k], 0);
}

static void square(Coding *c, int64_t by, int64_t bx, int64_t n) {
    const LvcFrame *f = c->frame;
    int split = n > 1;
    if (split && by + n <= f->rows && bx + n <= f->cols) {
        const int parts = c->rans->reading ? 0 : !uniform(f->mode, f->mv, f, by, bx, n);
        split = flag(c, lvc_split_context(f, c->level, by, bx, n), parts);
    }
    if (!split) {
        leaf(c, by, bx, n);
        return;
    }
    for (int k = 0; k < 4; k++) {
        const int64_t y = by + k / 2 * n / 2, x = bx + k % 2 * n / 2;
        if (y < f->rows && x < f->cols) square(c, y, x, n / 2);
    }
}

int32_t lvc_code_field(Rans *r, LvcMotionContexts *contexts, LvcFrame *f, int level) {
    Coding c = {r, contexts, f, lvc_level_class(level), 0};
    for (int64_t i = 0; i < f->rows * f->cols; i++) f->known[i] = 0;
    for (int64_t y = 0; y < f->rows; y += LVC_SUPER)
        for (int64_t x = 0; x < f->cols; x += LVC_SUPER) square(&c, y, x, LVC_SUPER);
    return c.bad ? LVC_BAD_FIELD : LVC_OK;
}

/* The context of a flag of the block at (y, x): by its neighbours (left, above, above right) and the references. */
static int flag_context(const uint8_t *flags, const uint8_t *const others[2], int64_t cols, int64_t y, int64_t x) {
    const uint8_t *at = flags + y * cols + x;
    int near = x ? at[-1] : 0, then = 0;
    if (y) near += at[-cols] + (x + 1 < cols ? at[1 - cols] : at[-cols]);
    for (int k = 0; k < 2; k++) then += others[k] ? others[k][y * cols + x] : 0;
    return near * 3 + then;
}

void lvc_code_flags(Rans *r, LvcMotionContexts *contexts, const LvcFrame *f, int level, uint8_t *skip, uint8_t *copy,
                    const uint8_t *const skips[2], const uint8_t *const copies[2]) {
    const int64_t rows = f->rows / 2, cols = f->cols / 2;
    for (int64_t y = 0; y < rows; y++)
        for (int64_t x = 0; x < cols; x++) {
            const int64_t at = y * cols + x;
            const int known = f->known[2 * y * f->cols + 2 * x] & ~LVC_EXPLICIT;
            const int more = (known > 2 ? 2 : known - 1) * 3 + lvc_level_class(level); /* larger leaves, 16, 8 */
            const int of_skip = AT_SKIP + flag_context(skip, skips, cols, y, x) * 9 + more;
            const int of_copy = AT_COPY + flag_context(copy, copies, cols, y, x) * 9 + more;
            skip[at] = (uint8_t)code_flag(r, contexts, of_skip, skip[at]);
            copy[at] = (uint8_t)(skip[at] ? code_flag(r, contexts, of_copy, copy[at]) : 0);
        }
}

static int32_t coded_change(Rans *r, int k, int32_t change) {
    const int32_t size = (int32_t)rans_code_golomb(r, k, (uint32_t)abs(change));
    return size && rans_code_raw(r, 1, change < 0) ? -size : size;
}

int32_t lvc_code_exposure(Rans *r, LvcMotionContexts *c, LvcExposure expected, LvcExposure *exposure) {
    const LvcExposure change = {exposure->gain - expected.gain, exposure->offset - expected.offset};
    *exposure = expected;
    if (code_flag(r, c, AT_EXPOSURE, change.gain || change.offset)) {
        exposure->gain += coded_change(r, 1, change.gain);
        exposure->offset += coded_change(r, 3, change.offset);
    }
    const int fits = exposure->gain >= LVC_GAIN_MIN && exposure->gain <= LVC_GAIN_MAX &&
                     abs(exposure->offset) <= LVC_OFFSET_MAX;
    return fits ? LVC_OK : LVC_BAD_FIELD;
}

LvcExposure lvc_expected_exposure(LvcExposure first, const LvcExposure *second) {
    if (second == NULL) return first;
    return (LvcExposure){(first.gain + second->gain + 1) >> 1, (first.offset + second->offset + 1) >> 1};
}

LVC_API int32_t lvc_expose(const int16_t *luma, const int16_t *chroma, int64_t n, LvcExposure from, LvcExposure to,
                           int16_t *luma_out, int16_t *chroma_out) {
    enum { MIDDLE = 2048 };
    const int32_t gain = (256 * to.gain + from.gain / 2) / from.gain;
    const int32_t offset = 4 * to.offset - ((gain * 4 * from.offset + 128) >> 8);
    if (gain == 256 && offset == 0) return 0;
    for (int64_t i = 0; i < n; i++) luma_out[i] = (int16_t)lvc_bounded(((luma[i] * gain + 128) >> 8) + offset, 0, LVC_TOP);
    for (int64_t i = 0; i < n / 2; i++)
        chroma_out[i] = (int16_t)lvc_bounded((((chroma[i] - MIDDLE) * gain + 128) >> 8) + MIDDLE, 0, LVC_TOP);
    return 1;
}

void lvc_motion_start(LvcMotionContexts *c) {
    c->counts = NULL;
    for (int i = 0; i < LVC_CONTEXTS; i++) c->bit[i] = (RansBit){LVC_MOTION_START[i], LVC_MOTION_START[i], 0};
}

/* ---- for Python: contexts with their counts ---- */

typedef struct {
    LvcMotionContexts contexts;
    uint32_t counts[LVC_CONTEXTS][2];
} Stream;

LVC_API size_t lvc_motion_stream_size(void) { return sizeof(Stream); }

/* Starts with the present contexts of `from`, or with the initial ones if it is NULL. */
LVC_API void lvc_motion_stream(Stream *s, const Stream *from) {
    if (from)
        s->contexts = from->contexts;
    else
        lvc_motion_start(&s->contexts);
    memset(s->counts, 0, sizeof s->counts);
    s->contexts.counts = s->counts;
}

/* How often each flag was 0 and 1. */
LVC_API const uint32_t *lvc_motion_stream_counts(const Stream *s) { return &s->counts[0][0]; }

LVC_API int32_t lvc_motion_stream_field(Stream *s, Rans *r, LvcFrame *f, int32_t level) {
    return lvc_code_field(r, &s->contexts, f, level);
}

LVC_API int32_t lvc_motion_stream_exposure(Stream *s, Rans *r, const LvcExposure *expected, LvcExposure *exposure) {
    return lvc_code_exposure(r, &s->contexts, *expected, exposure);
}

LVC_API void lvc_motion_stream_flags(Stream *s, Rans *r, const LvcFrame *f, int32_t level, uint8_t *skip,
                                     uint8_t *copy, const uint8_t *skip0, const uint8_t *copy0, const uint8_t *skip1,
                                     const uint8_t *copy1) {
    const uint8_t *const skips[2] = {skip0, skip1}, *const copies[2] = {copy0, copy1};
    lvc_code_flags(r, &s->contexts, f, level, skip, copy, skips, copies);
}

LVC_API const LvcMotionContexts *lvc_motion_stream_contexts(const Stream *s) { return &s->contexts; }
