/* A thread pool that shares the tasks of a loop. Results do not depend on the number of threads. */
#ifndef LVC_POOL_H
#define LVC_POOL_H

#if defined(__wasm_atomics__)
#define POOL_MAX 4 /* a player's workers: packages/lvz-player/wasm/pool.c */
#elif defined(__wasm__)
#define POOL_MAX 1
#else
#define POOL_MAX 64
#endif

/* The number of threads, the caller's included; initially 1. */
int pool_threads(void);

/* Calls run(context, task, worker) for every task 0..tasks-1, in any order. worker is 0..POOL_MAX-1; no two concurrent
   tasks of a call have the same one. A concurrent call from another thread runs on that thread alone. */
void pool_run(void (*run)(void *context, int task, int worker), void *context, int tasks);

#endif
