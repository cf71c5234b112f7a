/* Motion of the engine: prediction from one or two references, candidates of vectors, search. MOTION of a frame is a
   field on its 8x8 luma grid [rows,cols]: `mode` 0 (first reference), 1 (second) or 2 (mean of both), and vectors
   `mv` [2 references][x, y][rows,cols] in quarter luma samples within +-LVC_LONGEST, 0 where the reference is not used.
   Callers check the sizes of arrays; values are checked here. Nothing is kept between calls. */
#ifndef LVC_MOTION_H
#define LVC_MOTION_H

#include <stddef.h>
#include <stdint.h>

#include "cpu.h"
#include "rans.h"

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#else
#define INLINE static inline
#endif

#define LVC_TOP 4095     /* largest sample: 12 bits */
#define LVC_LONGEST 4095 /* longest component of a vector */
#define LVC_TAPS 8       /* of luma filters */
#define LVC_LEAD 3       /* samples of a luma filter before its own */
#define LVC_EXPLICIT 0x80
#define LVC_CANDIDATES 6
#define LVC_SUPER 8      /* side of a superblock in 8x8 blocks */

enum { LVC_OK = 0, LVC_NO_MEMORY = -1, LVC_BAD_FIELD = -2 };

/* HEVC's filters: luma at quarters of a sample, chroma at eighths. */
static const int16_t LVC_LUMA[4][LVC_TAPS] = {
    {0, 0, 0, 64, 0, 0, 0, 0}, {-1, 4, -10, 58, 17, -5, 1, 0}, {-1, 4, -11, 40, 40, -11, 4, -1}, {0, 1, -5, 17, 58, -10, 4, -1}};
static const int16_t LVC_CHROMA[8][4] = {{0, 64, 0, 0},    {-2, 58, 10, -2}, {-4, 54, 16, -2}, {-6, 46, 28, -4},
                                         {-4, 36, 36, -4}, {-4, 28, 46, -6}, {-2, 16, 54, -4}, {-2, 10, 58, -2}};

/* The field of a coded frame, and when it and what it was predicted from are shown; mode NULL: it was not predicted. */
typedef struct {
    const uint8_t *mode;
    const int16_t *mv;
    int32_t time, to[2];
} LvcField;

/* A block's motion: vectors [reference][x, y]. */
typedef struct {
    int16_t v[2][2];
    uint8_t mode;
} LvcMotion;

/* A field on its way: what is known of it so far, and what its temporal candidates come from. */
typedef struct {
    uint8_t *mode;
    int16_t *mv;
    uint8_t *known; /* [rows,cols]: of the leaf that settled a block 1 + log2 of its side, LVC_EXPLICIT if it was no merge */
    int64_t rows, cols;
    int32_t references, time, to[2];
    LvcField fields[2]; /* of the references */
} LvcFrame;

INLINE int32_t lvc_bounded(int32_t v, int32_t low, int32_t high) { return v < low ? low : v > high ? high : v; }

INLINE int lvc_same(LvcMotion a, LvcMotion b) {
    return a.mode == b.mode && a.v[0][0] == b.v[0][0] && a.v[0][1] == b.v[0][1] && a.v[1][0] == b.v[1][0] &&
           a.v[1][1] == b.v[1][1];
}

INLINE LvcMotion lvc_motion_at(const uint8_t *mode, const int16_t *mv, int64_t blocks, int64_t at) {
    LvcMotion m = {{{mv[at], mv[blocks + at]}, {mv[2 * blocks + at], mv[3 * blocks + at]}}, mode[at]};
    return m;
}

INLINE int lvc_uses(LvcMotion m, int reference) { return m.mode == 2 || m.mode == reference; }

/* The candidates of a block, none twice, and how often each was offered. */
typedef struct {
    LvcMotion motion[LVC_CANDIDATES];
    int count, times[LVC_CANDIDATES];
} LvcCandidates;

/* What a vector may be said by difference to: one or two. */
typedef struct {
    int16_t v[2][2];
    int count;
} LvcGuesses;

int lvc_temporal(const LvcFrame *f, int k, int64_t by, int64_t bx, LvcMotion *out);
void lvc_candidates(const LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcCandidates *out);
LvcGuesses lvc_guesses(const LvcCandidates *c, int reference);
void lvc_settle(LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcMotion m, int is_explicit);

/* Contexts of flags, in this order in LvcMotionContexts; motion_reference.py says how each is chosen. */
enum {
    AT_SPLIT = 0,
    AT_MERGE = AT_SPLIT + 3 * 3 * 3 * 3,
    AT_INDEX = AT_MERGE + 4 * 3 * 3 * 3,
    AT_BOTH = AT_INDEX + 5 * 3 * 4 * 3,
    AT_SECOND = AT_BOTH + 4 * 3,
    AT_GUESS = AT_SECOND + 3,
    AT_ZERO = AT_GUESS + 4,
    AT_CLASS = AT_ZERO + 4 + 4 * 3,
    AT_SKIP = AT_CLASS + 2 * 4 * 12,
    AT_COPY = AT_SKIP + 4 * 3 * 3 * 3,
    LVC_CONTEXTS = AT_COPY + 4 * 3 * 3 * 3
};

typedef struct {
    RansBit bit[LVC_CONTEXTS];
    uint32_t (*counts)[2]; /* how often each was 0 and 1, where someone wants to know; else NULL */
} LvcMotionContexts;

void lvc_motion_start(LvcMotionContexts *c);

/* Which contexts flags of a square are coded with, for coder and search: `level` of 0, 1, 2 (all below), `often`: how
   often the candidate was offered. */
int lvc_level_class(int level);
int lvc_split_context(const LvcFrame *f, int level, int64_t by, int64_t bx, int64_t n);
int lvc_merge_context(const LvcFrame *f, int level, int64_t by, int64_t bx, int64_t n, const LvcCandidates *list);
int lvc_index_context(int level, int64_t n, const LvcCandidates *list, int k);
int lvc_both_context(const LvcFrame *f, int64_t by, int64_t bx, int64_t n);
int lvc_second_context(const LvcFrame *f, int64_t by, int64_t bx);
int lvc_guess_context(const LvcGuesses *g);
int lvc_spread(const LvcGuesses *g, int axis);

INLINE int lvc_zero_context(int axis, int spread, int before) {
    return AT_ZERO + (axis ? 4 + spread * 3 + (before < 2 ? before : 2) : spread);
}

INLINE int lvc_class_context(int axis, int spread, int class) { return AT_CLASS + (axis * 4 + spread) * 12 + class; }

/* Writes or reads the field of a frame of a pyramid level; LVC_BAD_FIELD: a damaged stream. */
int32_t lvc_code_field(Rans *r, LvcMotionContexts *c, LvcFrame *f, int level);

/* The same of flags uint8 [rows/2,cols/2] after the frame's field; those of its references, NULL where they have none.
   `copy` is 0 where `skip` is. */
void lvc_code_flags(Rans *r, LvcMotionContexts *c, const LvcFrame *f, int level, uint8_t *skip, uint8_t *copy,
                    const uint8_t *const skips[2], const uint8_t *const copies[2]);

/* What is compiled for several instruction sets, all with the same results; motion.c says what each does. */
typedef struct {
    int32_t (*compensate)(const int16_t *y0, const int16_t *uv0, const int16_t *y1, const int16_t *uv1,
                          const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols, int16_t *p_y,
                          int16_t *p_uv, int16_t *d_y, int16_t *d_uv);
    int32_t (*picture)(const int16_t *luma, const int16_t *chroma, int64_t height, int64_t width, int32_t reference,
                       uint8_t *memory);
    int32_t (*search)(uint8_t *now, uint8_t *ref0, uint8_t *ref1, LvcFrame *frame, int32_t level,
                      const LvcMotionContexts *contexts, float weight, int32_t effort, float *cost);
    size_t (*picture_size)(int64_t height, int64_t width, int32_t reference);
} MotionKernels;

extern const MotionKernels motion_avx2, motion_c;

#endif
