#include "motion_predict.inc.h"

int32_t lvc_wasm_compensate(const int16_t *y0, const int16_t *uv0, const int16_t *y1, const int16_t *uv1,
                            const uint8_t *mode, const int16_t *mv, int64_t rows, int64_t cols, int16_t *p_y,
                            int16_t *p_uv, int16_t *d_y, int16_t *d_uv) {
    return compensate(y0, uv0, y1, uv1, mode, mv, rows, cols, p_y, p_uv, d_y, d_uv);
}
