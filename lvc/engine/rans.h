/* The entropy coder: rANS (Duda 2013, https://arxiv.org/abs/1311.2540) with a 32-bit state, 16-bit words and 16-bit
   probabilities.

   Every coded value is a piece [start, start + freq) of 65536:
   - a flag with an adaptive context (RansBit): piece [0, p) is 1, [p, 65536) is 0;
   - a symbol of a static table (RansTable): its piece of the table's cumulative frequencies;
   - raw bits: pieces of equal size.

   The same calls write and read: `rans_code_...(coder, ..., value)` writes `value` and returns it, or ignores it
   and returns what it reads. rANS is last in, first out: the encoder collects pieces and codes them in reverse in
   `rans_finish`. The decoder never reads beyond its bytes. A damaged stream decodes to plausible symbols, and
   `rans_whole` returns 0 at its end. */
#ifndef LVC_RANS_H
#define LVC_RANS_H

#include <stddef.h>
#include <stdint.h>

#define RANS_ONE 65536u       /* the sum of all pieces */
#define RANS_LOW 65536u       /* states are RANS_LOW .. 2^32 - 1; RANS_LOW is the encoder's first, the decoder's last */
#define RANS_BIT_MIN 32u      /* the probability of a flag is at most 1 - 32/65536 */
#define RANS_SYMBOLS_MAX 4096 /* of a static table */
#define RANS_GOLOMB_MAX 20    /* largest number of bits in an Exp-Golomb code's prefix */

typedef struct {
    int reading;
    /* reader */
    uint32_t state;
    const uint8_t *at, *end;
    int over; /* it tried to read beyond the end */
    /* writer: each piece as start << 16 | (freq - 1) */
    uint32_t *pieces;
    size_t count, room;
    int failed; /* out of memory */
} Rans;

/* The adaptive probability that a flag is 1, in 1/65536: the mean of a quick and a slow moving average. `count` flags
   were seen, up to RANS_BIT_SETTLED; the averages move faster at first. */
#define RANS_BIT_SETTLED 32
typedef struct {
    uint16_t quick, slow, count;
} RansBit;

#define RANS_BIT_HALF ((RansBit){32768, 32768, 0})

typedef struct {
    int symbols;
    uint32_t start[RANS_SYMBOLS_MAX + 1];
    uint16_t first[256]; /* the symbol that contains 256 * i */
} RansTable;

void rans_write(Rans *r);
void rans_read(Rans *r, const uint8_t *data, size_t bytes);
void rans_free(Rans *r);

/* Writer: the most bytes that the stream can take. */
size_t rans_room(const Rans *r);

/* Writer: writes the stream to `out` (`rans_room` bytes). Returns its bytes, or 0 if memory ran out. */
size_t rans_finish(const Rans *r, uint8_t *out);

/* Reader: 1 if exactly the whole stream was read. */
int rans_whole(const Rans *r);

/* Makes a table. Returns 0 unless there are 1..RANS_SYMBOLS_MAX frequencies, each at least 1, that sum to 65536. */
int rans_table_make(RansTable *table, const uint32_t *freq, int symbols);

/* The cost of a piece of `freq` in 1/256 bit, rounded, for the encoder's decisions; not part of the format. */
uint32_t rans_cost(uint32_t freq);

int rans_grow(Rans *r); /* called only by rans_put */

static inline void rans_put(Rans *r, uint32_t start, uint32_t freq)
{
    if (r->count == r->room && !rans_grow(r))
        return;
    r->pieces[r->count++] = start << 16 | (freq - 1);
}

static inline uint32_t rans_peek(const Rans *r)
{
    return r->state & (RANS_ONE - 1);
}

static inline void rans_take(Rans *r, uint32_t start, uint32_t freq)
{
    r->state = freq * (r->state >> 16) + (r->state & (RANS_ONE - 1)) - start;
    if (r->state < RANS_LOW) {
        uint32_t word = 0;
        if (r->end - r->at >= 2) {
            word = r->at[0] | (uint32_t)r->at[1] << 8;
            r->at += 2;
        } else {
            r->over = 1;
        }
        r->state = r->state << 16 | word;
    }
}

static inline uint32_t rans_bit_one(const RansBit *b)
{
    uint32_t p = ((uint32_t)b->quick + b->slow) >> 1;
    return p < RANS_BIT_MIN ? RANS_BIT_MIN : p > RANS_ONE - RANS_BIT_MIN ? RANS_ONE - RANS_BIT_MIN : p;
}

static inline void rans_bit_learn(RansBit *b, int bit)
{
    int seen = b->count, quick = seen < 2 ? 3 : seen < RANS_BIT_SETTLED ? 4 : 5;
    int slow = seen < 2 ? 3 : seen < 8 ? 4 : seen < RANS_BIT_SETTLED ? 5 : 6;
    b->count = (uint16_t)(seen + (seen < RANS_BIT_SETTLED));
    if (bit) {
        b->quick = (uint16_t)(b->quick + ((65535 - b->quick) >> quick));
        b->slow = (uint16_t)(b->slow + ((65535 - b->slow) >> slow));
    } else {
        b->quick = (uint16_t)(b->quick - (b->quick >> quick));
        b->slow = (uint16_t)(b->slow - (b->slow >> slow));
    }
}

/* The cost of coding `bit` now, in 1/256 bit. */
static inline uint32_t rans_bit_cost(const RansBit *b, int bit)
{
    uint32_t one = rans_bit_one(b);
    return rans_cost(bit ? one : RANS_ONE - one);
}

static inline int rans_code_bit(Rans *r, RansBit *b, int bit)
{
    uint32_t one = rans_bit_one(b);
    if (r->reading)
        bit = rans_peek(r) < one;
    bit = bit != 0;
    uint32_t start = bit ? 0 : one, freq = bit ? one : RANS_ONE - one;
    if (r->reading)
        rans_take(r, start, freq);
    else
        rans_put(r, start, freq);
    rans_bit_learn(b, bit);
    return bit;
}

/* Codes `bits` raw bits, 0..16. */
static inline uint32_t rans_code_raw(Rans *r, int bits, uint32_t value)
{
    if (bits == 0)
        return 0;
    int shift = 16 - bits;
    if (r->reading) {
        value = rans_peek(r) >> shift;
        rans_take(r, value << shift, 1u << shift);
        return value;
    }
    value &= (1u << bits) - 1;
    rans_put(r, value << shift, 1u << shift);
    return value;
}

/* Codes a symbol 0..symbols-1 of a static table. */
static inline int rans_code_symbol(Rans *r, const RansTable *t, int symbol)
{
    if (r->reading) {
        uint32_t slot = rans_peek(r);
        symbol = t->first[slot >> 8];
        while (t->start[symbol + 1] <= slot)
            symbol++;
    }
    uint32_t start = t->start[symbol], freq = t->start[symbol + 1] - start;
    if (r->reading)
        rans_take(r, start, freq);
    else
        rans_put(r, start, freq);
    return symbol;
}

/* Codes a value up to 2^20 as Exp-Golomb of order k (0..16) in raw bits: a 1 per doubling, a 0, the remainder. */
uint32_t rans_code_golomb(Rans *r, int k, uint32_t value);

#endif
