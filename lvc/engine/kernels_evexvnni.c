/* AVX-VNNI's operations as 256-bit AVX-512 instructions, for processors without AVX-VNNI; with 32 registers. */
#include "vectors256.inc.h"

#define TILE 6

static inline V dot8(V sum, V x, V w) { return _mm256_dpbusd_epi32(sum, x, w); }
static inline V dot16(V sum, V x, V w) { return _mm256_dpwssd_epi32(sum, x, w); }

#include "kernels.inc.h"

const Kernels kernels_evexvnni = {LANES, 0, matrix, matrix16, depthwise, quantise};
