/* AVX-VNNI in its own encoding: 16 registers. */
#include "vectors256.inc.h"

#define TILE 3

static inline V dot8(V sum, V x, V w) { return _mm256_dpbusd_avx_epi32(sum, x, w); }
static inline V dot16(V sum, V x, V w) { return _mm256_dpwssd_avx_epi32(sum, x, w); }

#include "kernels.inc.h"

const Kernels kernels_avxvnni = {LANES, 0, matrix, matrix16, depthwise, quantise};
