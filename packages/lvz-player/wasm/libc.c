/* What the engine needs of a C library, and a browser has none of. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <wasm_simd128.h>

/* With -mbulk-memory these are instructions; but browsers call a function for each, which takes longer than to copy little. */
void *memcpy(void *to, const void *from, size_t bytes)
{
    enum { LITTLE = 256 };
    if (bytes > LITTLE)
        return __builtin_memcpy(to, from, bytes);
    const uint8_t *p = from;
    uint8_t *q = to;
    for (; bytes >= sizeof(v128_t); bytes -= sizeof(v128_t), p += sizeof(v128_t), q += sizeof(v128_t))
        wasm_v128_store(q, wasm_v128_load(p));
    for (; bytes; bytes--)
        *q++ = *p++;
    return to;
}

void *memmove(void *to, const void *from, size_t bytes) { return __builtin_memmove(to, from, bytes); }
void *memset(void *to, int value, size_t bytes) { return __builtin_memset(to, value, bytes); }

/* Memory is a row of blocks without gaps, each behind a header of 16 bytes. Allocations are few and large, so the first
   that fits is good enough. A free block takes in those free behind it when it is looked at. */
typedef struct {
    size_t bytes; /* with the header */
    size_t used;
    size_t pad[2];
} Block;

#define PAGE 65536u
extern unsigned char __heap_base;
static uint8_t *low; /* the first block that may be free */
static uint8_t *end; /* of the row; behind it lies memory that was never used */

void *malloc(size_t bytes)
{
    if (bytes > 0x7fffffff)
        return NULL;
    size_t need = (bytes + sizeof(Block) + 15) & ~(size_t)15;
    if (end == NULL)
        low = end = (uint8_t *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    int found = 0;
    for (uint8_t *at = low; at < end; at += ((Block *)at)->bytes) {
        Block *b = (Block *)at;
        if (b->used)
            continue;
        if (!found)
            low = at;
        found = 1;
        while (at + b->bytes < end && !((Block *)(at + b->bytes))->used)
            b->bytes += ((Block *)(at + b->bytes))->bytes;
        if (at + b->bytes == end) { /* the last one goes back */
            end = at;
            break;
        }
        if (b->bytes < need)
            continue;
        if (b->bytes - need >= 4 * sizeof(Block)) {
            Block *rest = (Block *)(at + need);
            rest->bytes = b->bytes - need;
            rest->used = 0;
            b->bytes = need;
        }
        b->used = 1;
        return b + 1;
    }
    if (!found)
        low = end;
    size_t room = __builtin_wasm_memory_size(0) * PAGE - (size_t)end;
    if (room < need && __builtin_wasm_memory_grow(0, (need - room + PAGE - 1) / PAGE) == (size_t)-1)
        return NULL;
    Block *b = (Block *)end;
    b->bytes = need;
    b->used = 1;
    end += need;
    return b + 1;
}

void free(void *memory)
{
    if (memory == NULL)
        return;
    Block *b = (Block *)memory - 1;
    b->used = 0;
    if ((uint8_t *)b < low)
        low = (uint8_t *)b;
}

void *calloc(size_t count, size_t bytes)
{
    if (bytes && count > 0x7fffffff / bytes)
        return NULL;
    void *memory = malloc(count * bytes);
    if (memory)
        memset(memory, 0, count * bytes);
    return memory;
}

void *realloc(void *memory, size_t bytes)
{
    void *larger = malloc(bytes);
    if (larger && memory) {
        size_t before = ((Block *)memory - 1)->bytes - sizeof(Block);
        memcpy(larger, memory, before < bytes ? before : bytes);
        free(memory);
    }
    return larger;
}
