/* What the engine needs of a C library, and a browser has none of. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* With -mbulk-memory these are instructions. */
void *memcpy(void *to, const void *from, size_t bytes) { return __builtin_memcpy(to, from, bytes); }
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
static uint8_t *first, *end; /* of the row; behind it lies memory that was never used */

void *malloc(size_t bytes)
{
    if (bytes > 0x7fffffff)
        return NULL;
    size_t need = (bytes + sizeof(Block) + 15) & ~(size_t)15;
    if (first == NULL)
        first = end = (uint8_t *)(((uintptr_t)&__heap_base + 15) & ~(uintptr_t)15);
    for (uint8_t *at = first; at < end; at += ((Block *)at)->bytes) {
        Block *b = (Block *)at;
        if (b->used)
            continue;
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
    if (memory)
        ((Block *)memory - 1)->used = 0;
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
