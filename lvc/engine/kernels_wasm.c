/* WebAssembly's 128-bit vectors, with the dot products of relaxed SIMD if they are compiled in. These give the same
   result on every machine if the second operand has 7 bits; activations do. */
#include "kernels.h"

#include <string.h>
#include <wasm_simd128.h>

#define LANES 4
#define TILE_GROUPS 1
/* A browser on x86-64 has 16 registers: more sums than this would live in memory. Without relaxed SIMD, weights are taken
   apart for every pixel that shares them, which costs more than that. */
#if defined(__wasm_relaxed_simd__)
#define TILE 2
#define TILE_VECTORS 4
#else
#define TILE 3
#endif
typedef v128_t V;
typedef v128_t W;

static inline V load32(const int32_t *p) { return wasm_v128_load(p); }
static inline W load16(const int16_t *p) { return wasm_v128_load(p); }
static inline void store32(int32_t *p, V v) { wasm_v128_store(p, v); }
static inline void store16(int16_t *p, W v) { wasm_v128_store(p, v); }
static inline W set16(int v) { return wasm_i16x8_splat((int16_t)v); }
static inline W add16(W a, W b) { return wasm_i16x8_add_sat(a, b); }
static inline W mul16(W a, W b) { return wasm_i16x8_mul(a, b); }
static inline W max16(W a, W b) { return wasm_i16x8_max(a, b); }
static inline W min16(W a, W b) { return wasm_i16x8_min(a, b); }
static inline W shift16(W a, int by) { return wasm_i16x8_shr(a, (uint32_t)by); }
static inline W narrow(V a, V b) { return wasm_i16x8_narrow_i32x4(a, b); }

/* WebAssembly has no per-lane shift: multiply by 2^(24 - shift), which `by` holds, then shift by 24. */
static inline V shift_right(V a, V by)
{
    V low = wasm_u64x2_shr(wasm_i64x2_extmul_low_i32x4(a, by), SHIFTS_MOST);
    V high = wasm_u64x2_shr(wasm_i64x2_extmul_high_i32x4(a, by), SHIFTS_MOST);
    return wasm_i32x4_shuffle(low, high, 0, 2, 4, 6);
}

static inline V dot8(V sum, V x, V w)
{
#if defined(__wasm_relaxed_simd__)
    return wasm_i32x4_relaxed_dot_i8x16_i7x16_add(w, x, sum);
#else
    V even = wasm_i32x4_dot_i16x8(wasm_v128_and(x, wasm_i16x8_splat(255)), wasm_i16x8_shr(wasm_i16x8_shl(w, 8), 8));
    V odd = wasm_i32x4_dot_i16x8(wasm_u16x8_shr(x, 8), wasm_i16x8_shr(w, 8));
    return wasm_i32x4_add(sum, wasm_i32x4_add(even, odd));
#endif
}

static inline V dot16(V sum, V x, V w) { return wasm_i32x4_add(sum, wasm_i32x4_dot_i16x8(x, w)); }

static inline V broadcast(const uint8_t *p) { return wasm_v128_load32_splat(p); }

/* The low bytes of 32 int16. */
static inline void store_low(uint8_t *p, const W *v)
{
    for (int half = 0; half < 2; half++)
        wasm_v128_store(p + 16 * half, wasm_i8x16_shuffle(v[2 * half], v[2 * half + 1], 0, 2, 4, 6, 8, 10, 12, 14, 16,
                                                          18, 20, 22, 24, 26, 28, 30));
}

static inline void load_s8(const int8_t *p, W *v)
{
    for (int i = 0; i < 4; i++)
        v[i] = wasm_i16x8_load8x8(p + 8 * i);
}

/* Interleaves 32 channels of three rows into groups of bytes (a, b, c, 0), in lane order. */
static inline void interleave(const uint8_t *a, const uint8_t *b, const uint8_t *c, V *out)
{
    for (int i = 0; i < 4; i++) {
        V ab = wasm_v128_or(wasm_u16x8_load8x8(a + 8 * i), wasm_i16x8_shl(wasm_u16x8_load8x8(b + 8 * i), 8));
        V c0 = wasm_u16x8_load8x8(c + 8 * i);
        out[2 * i] = wasm_i16x8_shuffle(ab, c0, 0, 8, 1, 9, 2, 10, 3, 11);
        out[2 * i + 1] = wasm_i16x8_shuffle(ab, c0, 4, 12, 5, 13, 6, 14, 7, 15);
    }
}

#include "kernels.inc.h"

static const Kernels kernels_wasm = {LANES, 1, matrix, matrix16, depthwise, quantise};

const Kernels *kernels_of(Isa isa)
{
    (void)isa;
    return &kernels_wasm;
}
