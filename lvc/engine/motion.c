/* Motion for callers of the library: `isa` (cpu.h) chooses among what was compiled, with the same results from all. */

#include "motion.h"

static const MotionKernels *kernels(int32_t isa) {
#if defined(__x86_64__)
    if (isa <= ISA_AVX2) return &motion_avx2;
#endif
    (void)isa;
    return &motion_c;
}

/* References: luma int16 [8·rows,8·cols] and chroma [2,4·rows,4·cols], the second NULL where there is none. Writes the
   prediction and the difference of both predictions. Rows and columns are even. Returns LVC_OK or what was wrong. */
LVC_API int32_t lvc_compensate(int32_t isa, const int16_t *y0, const int16_t *uv0, const int16_t *y1,
                               const int16_t *uv1, const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols,
                               int16_t *p_y, int16_t *p_uv, int16_t *d_y, int16_t *d_uv) {
    return kernels(isa)->compensate(y0, uv0, y1, uv1, mode, mv, rows, cols, p_y, p_uv, d_y, d_uv);
}

/* Bytes that `lvc_picture` writes. */
LVC_API size_t lvc_picture_size(int64_t height, int64_t width, int32_t reference) {
    return kernels(ISA_C)->picture_size(height, width, reference);
}

/* Luma int16 [height,width] and chroma [2,height/2,width/2] (NULL: none) of 12 bits as they are searched: a frame, or a
   reference at all positions between samples. `memory` is 0. */
LVC_API int32_t lvc_picture(int32_t isa, const int16_t *luma, const int16_t *chroma, int64_t height, int64_t width,
                            int32_t reference, uint8_t *memory) {
    return kernels(isa)->picture(luma, chroma, height, width, reference, memory);
}

/* The field of `frame`, whose mode and vectors are written, from pictures of it and of its references (the second NULL:
   none). `level` in the pyramid and `contexts` (NULL: those of a stream's start) say what a field costs; `weight`: bits
   of a squared step of 8-bit samples; `cost`: what the field and its errors cost, in bits. */
LVC_API int32_t lvc_search(int32_t isa, uint8_t *now, uint8_t *ref0, uint8_t *ref1, LvcFrame *frame, int32_t level,
                           const LvcMotionContexts *contexts, float weight, int32_t effort, float *cost) {
    LvcMotionContexts first;
    if (!contexts) lvc_motion_start(&first);
    return kernels(isa)->search(now, ref0, ref1, frame, level, contexts ? contexts : &first, weight, effort, cost);
}
