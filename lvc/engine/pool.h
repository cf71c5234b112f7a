/* A few threads that share the tasks of a loop. Results never depend on how many there are. */
#ifndef LVC_POOL_H
#define LVC_POOL_H

#if defined(__wasm__)
#define POOL_MAX 1 /* a player's workers share no memory */
#else
#define POOL_MAX 64
#endif

/* Threads that work at once, this one included; 1 to begin with. */
int pool_threads(void);

/* run(context, task, worker) for every task 0..tasks-1, in any order; worker is 0..POOL_MAX-1, and no two tasks of
   one call have the same worker at once. Another call at the same time, from another thread, runs alone. */
void pool_run(void (*run)(void *context, int task, int worker), void *context, int tasks);

#endif
