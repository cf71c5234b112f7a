/* The most products with sums that a core makes in a second: nothing but an instruction set's dot products, on
   registers. As a shared library for engine_speed.py, which says what to compile it for. */

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512VL__) /* AVX-VNNI as AVX-512 encodes it */
typedef __m256i V;
#define DOT8(sum, x, w) _mm256_dpbusd_epi32(sum, x, w)
#define DOT16(sum, x, w) _mm256_dpwssd_epi32(sum, x, w)
#define SET(value) _mm256_set1_epi32(value)
#elif defined(__AVX512VNNI__)
typedef __m512i V;
#define DOT8(sum, x, w) _mm512_dpbusd_epi32(sum, x, w)
#define DOT16(sum, x, w) _mm512_dpwssd_epi32(sum, x, w)
#define SET(value) _mm512_set1_epi32(value)
#elif defined(__AVXVNNI__)
typedef __m256i V;
#define DOT8(sum, x, w) _mm256_dpbusd_avx_epi32(sum, x, w)
#define DOT16(sum, x, w) _mm256_dpwssd_avx_epi32(sum, x, w)
#define SET(value) _mm256_set1_epi32(value)
#else
typedef __m256i V;
#define DOT8(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), SET(0x00010001)))
#define DOT16(sum, x, w) _mm256_add_epi32(sum, _mm256_madd_epi16(x, w))
#define SET(value) _mm256_set1_epi32(value)
#endif

#define EACH _Pragma("GCC unroll 10") for (int i = 0; i < 10; i++)

/* The asm: or the compiler would take out of the loop what never changes. */
#define LOOP(name, DOT, bytes) \
    int64_t name(int64_t turns, int32_t *result) \
    { \
        V sums[10], x = SET(0x01020304), w = SET(0x04030201); \
        EACH sums[i] = SET(i); \
        for (int64_t turn = 0; turn < turns; turn++) { \
            EACH { \
                sums[i] = DOT(sums[i], x, w); \
                __asm__("" : "+x"(x)); \
            } \
        } \
        EACH x = DOT(x, sums[i], w); \
        memcpy(result, &x, sizeof *result); \
        return 10 * (int64_t)sizeof(V) / bytes; \
    }

/* Return how many products one turn makes. `result`: so that none is left out. */
LOOP(dots8, DOT8, 1)
LOOP(dots16, DOT16, 2)
