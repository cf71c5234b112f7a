#include "rans.h"

#include <stdlib.h>
#include <string.h>

#include "cpu.h"

void rans_write(Rans *r)
{
    memset(r, 0, sizeof *r);
}

void rans_read(Rans *r, const uint8_t *data, size_t bytes)
{
    memset(r, 0, sizeof *r);
    r->reading = 1;
    r->at = data;
    r->end = data + bytes;
    r->state = RANS_LOW;
    if (bytes < 4 || bytes % 2) {
        r->over = 1;
        r->at = r->end;
        return;
    }
    r->state = data[0] | (uint32_t)data[1] << 8 | (uint32_t)data[2] << 16 | (uint32_t)data[3] << 24;
    r->at += 4;
    if (r->state < RANS_LOW)
        r->over = 1;
}

void rans_free(Rans *r)
{
    free(r->pieces);
    r->pieces = NULL;
    r->count = r->room = 0;
}

int rans_grow(Rans *r)
{
    if (r->failed)
        return 0;
    size_t room = r->room ? 2 * r->room : 4096;
    uint32_t *pieces = room <= SIZE_MAX / sizeof *pieces ? realloc(r->pieces, room * sizeof *pieces) : NULL;
    if (pieces == NULL) {
        r->failed = 1;
        return 0;
    }
    r->pieces = pieces;
    r->room = room;
    return 1;
}

size_t rans_room(const Rans *r)
{
    return 4 + 2 * r->count; /* at most one word per piece */
}

size_t rans_finish(const Rans *r, uint8_t *out)
{
    if (r->failed)
        return 0;
    uint8_t *end = out + rans_room(r), *at = end;
    uint32_t state = RANS_LOW;
    for (size_t i = r->count; i-- > 0;) {
        uint32_t start = r->pieces[i] >> 16, freq = (r->pieces[i] & 0xffff) + 1;
        if (state >= (uint64_t)freq << 16) {
            at -= 2;
            at[0] = (uint8_t)state;
            at[1] = (uint8_t)(state >> 8);
            state >>= 16;
        }
        state = (state / freq << 16) + state % freq + start;
    }
    at -= 4;
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(state >> 8 * i);
    memmove(out, at, (size_t)(end - at));
    return (size_t)(end - at);
}

int rans_whole(const Rans *r)
{
    return !r->over && r->at == r->end && r->state == RANS_LOW;
}

int rans_table_make(RansTable *table, const uint32_t *freq, int symbols)
{
    if (symbols < 1 || symbols > RANS_SYMBOLS_MAX)
        return 0;
    uint32_t sum = 0;
    for (int i = 0; i < symbols; i++) {
        if (freq[i] < 1 || freq[i] > RANS_ONE - sum)
            return 0;
        table->start[i] = sum;
        sum += freq[i];
    }
    if (sum != RANS_ONE)
        return 0;
    table->start[symbols] = sum;
    table->symbols = symbols;
    for (int i = 0, symbol = 0; i < 256; i++) {
        while (table->start[symbol + 1] <= (uint32_t)i << 8)
            symbol++;
        table->first[i] = (uint16_t)symbol;
    }
    return 1;
}

/* 16 - log2(freq) by repeated squaring, to eight binary digits after the point. */
uint32_t rans_cost(uint32_t freq)
{
    uint32_t whole = 0;
    while (freq >> (whole + 1))
        whole++;
    uint64_t x = (uint64_t)freq << (31 - whole); /* 1.0 is 2^31 */
    uint32_t log = whole;
    for (int i = 0; i < 8; i++) {
        x = x * x >> 31;
        log <<= 1;
        if (x >> 32) {
            x >>= 1;
            log |= 1;
        }
    }
    return (16u << 8) - log;
}

uint32_t rans_code_golomb(Rans *r, int k, uint32_t value)
{
    uint32_t base = 0;
    int more = 0;
    for (; k + more < RANS_GOLOMB_MAX; more++) {
        uint32_t size = 1u << (k + more);
        if (!rans_code_raw(r, 1, value >= base + size))
            break;
        base += size;
    }
    /* up to 20 bits: the upper ones first, at most 16 in a piece */
    int bits = k + more, low = bits > 16 ? 16 : bits;
    uint32_t rest = r->reading ? 0 : value - base;
    uint32_t high = rans_code_raw(r, bits - low, rest >> low);
    return base + (high << low | rans_code_raw(r, low, rest & ((1u << low) - 1)));
}

/* For tests and tools: codes `count` values of kind ops[2 i] and argument ops[2 i + 1].
   Kinds: 0 flag (argument: context), 1 raw bits (number), 2 symbol (table), 3 Exp-Golomb (order).
   Writes `values` to `data`, which has room for `bytes`, or reads them from it. Returns the bytes of the stream, -1
   without memory or room, -2 for a damaged stream (`values` are set nevertheless). */
LVC_API int64_t lvc_rans_script(int reading, uint8_t *data, int64_t bytes, const int32_t *ops, int32_t *values,
                                int64_t count, RansBit *contexts, const RansTable *tables)
{
    Rans r;
    if (reading)
        rans_read(&r, data, (size_t)bytes);
    else
        rans_write(&r);
    for (int64_t i = 0; i < count; i++) {
        int kind = ops[2 * i], argument = ops[2 * i + 1];
        if (kind == 0)
            values[i] = rans_code_bit(&r, &contexts[argument], values[i]);
        else if (kind == 1)
            values[i] = (int32_t)rans_code_raw(&r, argument, (uint32_t)values[i]);
        else if (kind == 2)
            values[i] = rans_code_symbol(&r, &tables[argument], values[i]);
        else
            values[i] = (int32_t)rans_code_golomb(&r, argument, (uint32_t)values[i]);
    }
    int64_t result;
    if (reading) {
        result = rans_whole(&r) ? bytes : -2;
    } else {
        result = (int64_t)rans_room(&r) <= bytes ? (int64_t)rans_finish(&r, data) : 0;
        if (result == 0)
            result = -1;
    }
    rans_free(&r);
    return result;
}

LVC_API int64_t lvc_rans_table_size(void)
{
    return (int64_t)sizeof(RansTable);
}

LVC_API int lvc_rans_table_make(RansTable *table, const uint32_t *freq, int symbols)
{
    return rans_table_make(table, freq, symbols);
}

/* For Python: coders on the heap. NULL: no memory. */

LVC_API Rans *lvc_rans_reader(const uint8_t *data, int64_t bytes)
{
    Rans *r = malloc(sizeof *r);
    if (r)
        rans_read(r, data, (size_t)bytes);
    return r;
}

LVC_API Rans *lvc_rans_writer(void)
{
    Rans *r = malloc(sizeof *r);
    if (r)
        rans_write(r);
    return r;
}

LVC_API int64_t lvc_rans_room(const Rans *r)
{
    return (int64_t)rans_room(r);
}

LVC_API int64_t lvc_rans_finish(const Rans *r, uint8_t *out)
{
    return (int64_t)rans_finish(r, out);
}

LVC_API int lvc_rans_whole(const Rans *r)
{
    return rans_whole(r);
}

LVC_API void lvc_rans_free(Rans *r)
{
    if (r)
        rans_free(r);
    free(r);
}

/* Appends everything that `from` has written to `to`. */
LVC_API void lvc_rans_append(Rans *to, const Rans *from)
{
    for (size_t i = 0; i < from->count; i++)
        rans_put(to, from->pieces[i] >> 16, (from->pieces[i] & 0xffff) + 1);
    to->failed |= from->failed;
}

/* Writer: bits written so far, without the coder's overhead. */
LVC_API double lvc_rans_bits(const Rans *r)
{
    double bits = 0;
    for (size_t i = 0; i < r->count; i++)
        bits += rans_cost((r->pieces[i] & 0xffff) + 1) / 256.0;
    return bits;
}
