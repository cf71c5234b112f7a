/* NEON with dot products (ARMv8.2): vectors of 4 int32. Activations are below 128, so signed products suffice. */
#include "kernels.h"

#include <arm_neon.h>
#include <string.h>

#define LANES 4
#define TILE 3
#define TILE_GROUPS 1
typedef int32x4_t V;
typedef int16x8_t W;

static inline V load32(const int32_t *p) { return vld1q_s32(p); }
static inline W load16(const int16_t *p) { return vld1q_s16(p); }
static inline void store32(int32_t *p, V v) { vst1q_s32(p, v); }
static inline void store16(int16_t *p, W v) { vst1q_s16(p, v); }
static inline W set16(int v) { return vdupq_n_s16((int16_t)v); }
static inline W add16(W a, W b) { return vqaddq_s16(a, b); }
static inline W mul16(W a, W b) { return vmulq_s16(a, b); }
static inline W max16(W a, W b) { return vmaxq_s16(a, b); }
static inline W min16(W a, W b) { return vminq_s16(a, b); }
static inline W shift16(W a, int by) { return vshlq_s16(a, vdupq_n_s16((int16_t)-by)); }
static inline V shift_right(V a, V by) { return vshlq_s32(a, vnegq_s32(by)); }
static inline W narrow(V a, V b) { return vcombine_s16(vqmovn_s32(a), vqmovn_s32(b)); }

static inline V dot8(V sum, V x, V w)
{
    return vdotq_s32(sum, vreinterpretq_s8_s32(x), vreinterpretq_s8_s32(w));
}

static inline V dot16(V sum, V x, V w)
{
    int16x8_t a = vreinterpretq_s16_s32(x), b = vreinterpretq_s16_s32(w);
    return vaddq_s32(sum, vpaddq_s32(vmull_s16(vget_low_s16(a), vget_low_s16(b)), vmull_high_s16(a, b)));
}

static inline V broadcast(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return vdupq_n_s32(v);
}

/* The low bytes of 32 int16. */
static inline void store_low(uint8_t *p, const W *v)
{
    for (int half = 0; half < 2; half++)
        vst1q_u8(p + 16 * half, vcombine_u8(vmovn_u16(vreinterpretq_u16_s16(v[2 * half])),
                                            vmovn_u16(vreinterpretq_u16_s16(v[2 * half + 1]))));
}

static inline void load_s8(const int8_t *p, W *v)
{
    for (int i = 0; i < 4; i++)
        v[i] = vmovl_s8(vld1_s8(p + 8 * i));
}

/* Interleaves 32 channels of three rows into groups of bytes (a, b, c, 0), in lane order. */
static inline void interleave(const uint8_t *a, const uint8_t *b, const uint8_t *c, V *out)
{
    for (int i = 0; i < 4; i++) {
        uint8x8x2_t ab = vzip_u8(vld1_u8(a + 8 * i), vld1_u8(b + 8 * i));
        uint8x8x2_t c0 = vzip_u8(vld1_u8(c + 8 * i), vdup_n_u8(0));
        uint16x8_t left = vreinterpretq_u16_u8(vcombine_u8(ab.val[0], ab.val[1]));
        uint16x8_t right = vreinterpretq_u16_u8(vcombine_u8(c0.val[0], c0.val[1]));
        uint16x8x2_t all = vzipq_u16(left, right);
        out[2 * i] = vreinterpretq_s32_u16(all.val[0]);
        out[2 * i + 1] = vreinterpretq_s32_u16(all.val[1]);
    }
}

#include "kernels.inc.h"

const Kernels kernels_neon = {LANES, 0, matrix, matrix16, depthwise, quantise};
