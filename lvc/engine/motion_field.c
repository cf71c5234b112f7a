/* Candidates of a block's motion: what decoder and encoder know alike. motion_reference.py explains them. */

#include "motion.h"

/* v * num / den, rounded to the nearest, halves away from 0. */
static int16_t scaled(int32_t v, int32_t num, int32_t den) {
    int32_t product = v * num;
    if (den < 0) product = -product, den = -den;
    const int32_t q = product < 0 ? -((den / 2 - product) / den) : (product + den / 2) / den;
    return (int16_t)lvc_bounded(q, -LVC_LONGEST, LVC_LONGEST);
}

/* The motion that reference k's field has at a block, as if it went on evenly: 0 where there is none. */
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

static void offer(LvcMotion *out, int *n, LvcMotion m) {
    if (*n == LVC_CANDIDATES) return;
    for (int i = 0; i < *n; i++)
        if (lvc_same(out[i], m)) return;
    out[(*n)++] = m;
}

static void neighbour(const LvcFrame *f, int64_t y, int64_t x, LvcMotion *out, int *n) {
    if (y < 0 || x < 0 || y >= f->rows || x >= f->cols || !f->known[y * f->cols + x]) return;
    offer(out, n, lvc_motion_at(f->mode, f->mv, f->rows * f->cols, y * f->cols + x));
}

/* The candidates of the block of n x n at (by, bx), none twice: how many. */
int lvc_candidates(const LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcMotion out[LVC_CANDIDATES]) {
    const int64_t y = by + n / 2, x = bx + n / 2;
    const LvcMotion zero = {{{0, 0}, {0, 0}}, (uint8_t)(f->references == 2 ? 2 : 0)};
    LvcMotion then;
    int count = 0;
    neighbour(f, by + n - 1, bx - 1, out, &count);
    neighbour(f, by - 1, bx + n - 1, out, &count);
    if (f->references == 2 && lvc_temporal(f, 1, y, x, &then)) offer(out, &count, then);
    neighbour(f, by - 1, bx + n, out, &count);
    if (lvc_temporal(f, 0, y, x, &then)) offer(out, &count, then);
    neighbour(f, by + n, bx - 1, out, &count);
    offer(out, &count, zero);
    neighbour(f, by - 1, bx - 1, out, &count);
    return count;
}

void lvc_settle(LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcMotion m) {
    const int64_t blocks = f->rows * f->cols;
    for (int64_t y = by; y < by + n; y++)
        for (int64_t x = bx; x < bx + n; x++) {
            const int64_t at = y * f->cols + x;
            f->mode[at] = m.mode;
            for (int i = 0; i < 4; i++) f->mv[i * blocks + at] = m.v[i / 2][i % 2];
            f->known[at] = 1;
        }
}
