/* 256-bit vectors for kernels.inc.h: 8 int32, 4 vectors per group. The including file defines dot8 and dot16. */
#include "kernels.h"

#include <immintrin.h>
#include <string.h>

#define LANES 8
#define TILE_GROUPS 1
typedef __m256i V;
typedef __m256i W;

static inline V load32(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline W load16(const int16_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
static inline void store32(int32_t *p, V v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
static inline void store16(int16_t *p, W v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
static inline W set16(int v) { return _mm256_set1_epi16((short)v); }
static inline W add16(W a, W b) { return _mm256_adds_epi16(a, b); }
static inline W mul16(W a, W b) { return _mm256_mullo_epi16(a, b); }
static inline W max16(W a, W b) { return _mm256_max_epi16(a, b); }
static inline W min16(W a, W b) { return _mm256_min_epi16(a, b); }
static inline W shift16(W a, int by) { return _mm256_sra_epi16(a, _mm_cvtsi32_si128(by)); }
static inline V shift_right(V a, V by) { return _mm256_srav_epi32(a, by); }
static inline W narrow(V a, V b) { return _mm256_packs_epi32(a, b); }

static inline V broadcast(const uint8_t *p)
{
    int32_t v;
    memcpy(&v, p, sizeof v);
    return _mm256_set1_epi32(v);
}

/* Stores the low bytes of 32 int16 in -128..127 or 0..255; one `packs` cannot keep both ranges. */
static inline void store_low(uint8_t *p, const W *v)
{
    __m256i low = _mm256_set1_epi16(255);
    __m256i bytes = _mm256_packus_epi16(_mm256_and_si256(v[0], low), _mm256_and_si256(v[1], low));
    _mm256_storeu_si256((__m256i *)p, _mm256_permute4x64_epi64(bytes, 0xd8));
}

static inline void load_s8(const int8_t *p, W *v)
{
    v[0] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p));
    v[1] = _mm256_cvtepi8_epi16(_mm_loadu_si128((const __m128i *)p + 1));
}

static inline __m256i widen(const uint8_t *p)
{
    return _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)p));
}

/* Interleaves 32 channels of three rows into groups of bytes (a, b, c, 0), in lane order. */
static inline void interleave(const uint8_t *a, const uint8_t *b, const uint8_t *c, V *out)
{
    for (int half = 0; half < 2; half++) {
        __m256i ab = _mm256_or_si256(widen(a + 16 * half), _mm256_slli_epi16(widen(b + 16 * half), 8));
        __m256i c0 = widen(c + 16 * half);
        out[2 * half] = _mm256_unpacklo_epi16(ab, c0);
        out[2 * half + 1] = _mm256_unpackhi_epi16(ab, c0);
    }
}
