#ifndef LVC_STDLIB_H
#define LVC_STDLIB_H
#include <stddef.h>
void *malloc(size_t bytes);
void *calloc(size_t count, size_t bytes);
void *realloc(void *memory, size_t bytes);
void free(void *memory);
static inline int abs(int v) { return v < 0 ? -v : v; }
#endif
