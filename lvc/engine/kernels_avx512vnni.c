/* AVX-512 VNNI: vectors of 16 int32; 6 pixels x 64 channels fill 24 of 32 registers. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#define LANES 16
#define TILE 6
#define TILE_GROUPS 2
typedef __m512i V;
typedef __m512i W;

static inline V load32(const int32_t *p) { return _mm512_loadu_si512(p); }
static inline W load16(const int16_t *p) { return _mm512_loadu_si512(p); }
static inline void store32(int32_t *p, V v) { _mm512_storeu_si512(p, v); }
static inline void store16(int16_t *p, W v) { _mm512_storeu_si512(p, v); }
static inline W set16(int v) { return _mm512_set1_epi16((short)v); }
static inline W add16(W a, W b) { return _mm512_adds_epi16(a, b); }
static inline W mul16(W a, W b) { return _mm512_mullo_epi16(a, b); }
static inline W max16(W a, W b) { return _mm512_max_epi16(a, b); }
static inline W min16(W a, W b) { return _mm512_min_epi16(a, b); }
static inline W shift16(W a, int by) { return _mm512_sra_epi16(a, _mm_cvtsi32_si128(by)); }
static inline V shift_right(V a, V by) { return _mm512_srav_epi32(a, by); }
static inline W narrow(V a, V b) { return _mm512_packs_epi32(a, b); }
static inline V dot8(V sum, V x, V w) { return _mm512_dpbusd_epi32(sum, x, w); }
static inline V dot16(V sum, V x, V w) { return _mm512_dpwssd_epi32(sum, x, w); }

static inline V broadcast(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm512_set1_epi32(v);
}

/* The low bytes of 32 int16. */
static inline void store_low(uint8_t *p, const W *v)
{
    _mm256_storeu_si256((__m256i *)p, _mm512_cvtepi16_epi8(v[0]));
}

static inline void load_s8(const int8_t *p, W *v)
{
    v[0] = _mm512_cvtepi8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

static inline __m512i widen(const uint8_t *p)
{
    return _mm512_cvtepu8_epi16(_mm256_loadu_si256((const __m256i *)p));
}

/* Interleaves 32 channels of three rows into groups of bytes (a, b, c, 0), in lane order. */
static inline void interleave(const uint8_t *a, const uint8_t *b, const uint8_t *c, V *out)
{
    __m512i ab = _mm512_or_si512(widen(a), _mm512_slli_epi16(widen(b), 8)), c0 = widen(c);
    out[0] = _mm512_unpacklo_epi16(ab, c0);
    out[1] = _mm512_unpackhi_epi16(ab, c0);
}

#include "kernels.inc.h"

const Kernels kernels_avx512vnni = {LANES, 0, matrix, matrix16, depthwise, quantise};
