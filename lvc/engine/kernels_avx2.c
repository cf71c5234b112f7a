/* AVX2: products of u7 and int8 are added in pairs as int16, which is exact because 2 * 127 * 128 < 2^15. */
#include "vectors256.inc.h"

#define TILE 2

static inline V dot8(V sum, V x, V w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(_mm256_maddubs_epi16(x, w), _mm256_set1_epi16(1)));
}

static inline V dot16(V sum, V x, V w)
{
    return _mm256_add_epi32(sum, _mm256_madd_epi16(x, w));
}

#include "kernels.inc.h"

const Kernels kernels_avx2 = {LANES, 0, matrix, matrix16, depthwise, quantise};
