/* The library's interface to motion. `isa` (cpu.h) selects a compiled variant; all give the same results. */

#include "motion.h"

static const MotionKernels *kernels(int32_t isa) {
#if defined(__x86_64__)
    if (isa <= ISA_AVX2) return &motion_avx2;
#endif
    (void)isa;
    return &motion_c;
}

/* Predicts a frame from luma int16 [8·rows,8·cols] and chroma [2,4·rows,4·cols] of its references; the second may be
   NULL. Writes the prediction and the difference of the two predictions. Rows and columns are even. Returns LVC_OK or an
   error. */
LVC_API int32_t lvc_compensate(int32_t isa, const int16_t *y0, const int16_t *uv0, const int16_t *y1,
                               const int16_t *uv1, const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols,
                               int16_t *p_y, int16_t *p_uv, int16_t *d_y, int16_t *d_uv) {
    return kernels(isa)->compensate(y0, uv0, y1, uv1, mode, mv, rows, cols, p_y, p_uv, d_y, d_uv);
}

/* The number of bytes that `lvc_picture` writes. */
LVC_API size_t lvc_picture_size(int64_t height, int64_t width, int32_t reference) {
    return kernels(ISA_C)->picture_size(height, width, reference);
}

/* Prepares 12-bit luma int16 [height,width] and chroma [2,height/2,width/2] (may be NULL) for the search; a reference
   at all subsample positions. `memory` is zeroed by the caller. */
LVC_API int32_t lvc_picture(int32_t isa, const int16_t *luma, const int16_t *chroma, int64_t height, int64_t width,
                            int32_t reference, uint8_t *memory) {
    return kernels(isa)->picture(luma, chroma, height, width, reference, memory);
}

/* Searches the motion of `frame`, from pictures of it and its references (the second may be NULL), and writes its mode
   and vectors. The pyramid `level` and `contexts` (NULL: a new stream's) give the rate. `weight`: bits per squared
   error of 8-bit samples; `cost`: the field's cost in bits, distortion included. */
LVC_API int32_t lvc_search(int32_t isa, uint8_t *now, uint8_t *ref0, uint8_t *ref1, LvcFrame *frame, int32_t level,
                           const LvcMotionContexts *contexts, float weight, int32_t effort, float *cost) {
    LvcMotionContexts first;
    if (!contexts) lvc_motion_start(&first);
    return kernels(isa)->search(now, ref0, ref1, frame, level, contexts ? contexts : &first, weight, effort, cost);
}
