/* Motion compensation, merge candidates and motion search. A frame's motion field has for every 8x8 luma block
   [rows,cols] a `mode`, 0 (first reference), 1 (second) or 2 (mean of both), and vectors `mv`
   [2 references][x, y][rows,cols] in quarter luma samples within +-LVC_LONGEST, 0 for an unused reference.
   Callers check the sizes of arrays; values are checked here. No state is kept between calls. */
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
#define LVC_TAPS 8       /* taps of a luma filter */
#define LVC_LEAD 3       /* taps before the sample itself */
#define LVC_EXPLICIT 0x80
#define LVC_CANDIDATES 6
#define LVC_SUPER 8      /* side of a superblock in 8x8 blocks */

enum { LVC_OK = 0, LVC_NO_MEMORY = -1, LVC_BAD_FIELD = -2 };

/* HEVC's interpolation filters: luma by quarter sample, chroma by eighth. */
static const int16_t LVC_LUMA[4][LVC_TAPS] = {
    {0, 0, 0, 64, 0, 0, 0, 0}, {-1, 4, -10, 58, 17, -5, 1, 0}, {-1, 4, -11, 40, 40, -11, 4, -1}, {0, 1, -5, 17, 58, -10, 4, -1}};
static const int16_t LVC_CHROMA[8][4] = {{0, 64, 0, 0},    {-2, 58, 10, -2}, {-4, 54, 16, -2}, {-6, 46, 28, -4},
                                         {-4, 36, 36, -4}, {-4, 28, 46, -6}, {-2, 16, 54, -4}, {-2, 10, 58, -2}};

/* The motion field of a coded frame, and when it and its references are shown; mode NULL: a key frame. */
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

/* A field in the course of coding, with the references' fields for temporal candidates. */
typedef struct {
    uint8_t *mode;
    int16_t *mv;
    uint8_t *known; /* [rows,cols]: of a block's leaf, 1 + log2 of its side, | LVC_EXPLICIT if it does not merge */
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

/* The distinct merge candidates of a block, and how often each was offered. */
typedef struct {
    LvcMotion motion[LVC_CANDIDATES];
    int count, times[LVC_CANDIDATES];
} LvcCandidates;

/* The vector predictors of a block: one or two. */
typedef struct {
    int16_t v[2][2];
    int count;
} LvcGuesses;

int lvc_temporal(const LvcFrame *f, int k, int64_t by, int64_t bx, LvcMotion *out);
void lvc_candidates(const LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcCandidates *out);
LvcGuesses lvc_guesses(const LvcCandidates *c, int reference);
void lvc_settle(LvcFrame *f, int64_t by, int64_t bx, int64_t n, LvcMotion m, int is_explicit);

/* Contexts of flags, in the order of LvcMotionContexts; motion_reference.py shows how each is chosen. */
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
    AT_EXPOSURE = AT_COPY + 4 * 3 * 3 * 3,
    LVC_CONTEXTS
};

typedef struct {
    RansBit bit[LVC_CONTEXTS];
    uint32_t (*counts)[2]; /* how often each was 0 and 1; NULL: not counted */
} LvcMotionContexts;

void lvc_motion_start(LvcMotionContexts *c);

/* Selects the contexts of a square's flags, for coder and search. `level`: 0, 1, or 2 for all deeper levels; `often`:
   how often the candidate was offered. */
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

/* How bright a frame is beside its group's key frame: a gain in 64ths, and an offset in quarters of an 8-bit level. */
enum { LVC_GAIN_ONE = 64, LVC_GAIN_MIN = 32, LVC_GAIN_MAX = 128, LVC_OFFSET_MAX = 1023 };

typedef struct {
    int32_t gain, offset;
} LvcExposure;

/* Writes or reads a frame's exposure; `expected` is what it costs least to say. LVC_BAD_FIELD: it is out of range. */
int32_t lvc_code_exposure(Rans *r, LvcMotionContexts *c, LvcExposure expected, LvcExposure *exposure);

/* What a frame without a word of its own has: the first reference's exposure, of two (NULL: there is one) the mean. */
LvcExposure lvc_expected_exposure(LvcExposure first, const LvcExposure *second);

/* A reference's samples as they are at another exposure: luma [n], chroma [n / 2]. Returns 0, without writing, where
   that changes nothing. */
LVC_API int32_t lvc_expose(const int16_t *luma, const int16_t *chroma, int64_t n, LvcExposure from, LvcExposure to,
                           int16_t *luma_out, int16_t *chroma_out);

/* Writes or reads the field of a frame at a pyramid level. LVC_BAD_FIELD: the stream is damaged. */
int32_t lvc_code_field(Rans *r, LvcMotionContexts *c, LvcFrame *f, int level);

/* The same for flags uint8 [rows/2,cols/2], after the frame's field, with those of its references (NULL: key frames).
   `copy` is 0 where `skip` is 0. */
void lvc_code_flags(Rans *r, LvcMotionContexts *c, const LvcFrame *f, int level, uint8_t *skip, uint8_t *copy,
                    const uint8_t *const skips[2], const uint8_t *const copies[2]);

/* Functions compiled for several instruction sets, all with the same results; motion.c describes them. */
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
