/* The detail of a frame (formats/decoder.md, section 10). */
#ifndef LVC_DETAIL_H
#define LVC_DETAIL_H

#include "cpu.h"
#include "rans.h"

int lvc_detail(Rans *r, int32_t rows, int32_t columns, int32_t quality, int16_t *levels, int16_t *luma, int16_t *chroma);

#endif
