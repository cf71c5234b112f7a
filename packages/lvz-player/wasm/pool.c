/* pool.h in a browser. On a page that is cross-origin isolated, an engine's memory can be shared: while its worker seeks a
   picture, other workers lend it a hand. Each has an instance of this module on the same memory, and a stack there. */
#include "pool.h"

#if defined(__wasm_atomics__)
#include <stdatomic.h>
#include <stdint.h>

#define EXPORT(name) __attribute__((export_name(#name))) name

enum { TICKET = 16, SPINS = 2000 }; /* a layer follows another sooner than a worker falls asleep and wakes up */

/* One word each, so that both halves change together. */
static _Atomic int32_t desk; /* the ticket that is open << 16 | a bit for each worker that is there */
static _Atomic int32_t bell; /* the number of the call << 16 | a bit for each worker that it counts on */
static _Atomic int32_t next, working;
static void (*job)(void *context, int task, int worker);
static void *job_context;
static int job_tasks;

static int32_t *plain(_Atomic int32_t *word) { return (int32_t *)word; }
static int ticket(void) { return (int)((uint32_t)atomic_load(&desk) >> TICKET); }

/* Until a word is not `value` any more. */
static void wait_while(_Atomic int32_t *word, int32_t value)
{
    for (int i = 0; i < SPINS; i++)
        if (atomic_load(word) != value)
            return;
    while (atomic_load(word) == value)
        __builtin_wasm_memory_atomic_wait32(plain(word), value, -1);
}

static void ring(int32_t workers)
{
    uint32_t call = ((uint32_t)atomic_load(&bell) >> TICKET) + 1;
    atomic_store(&bell, (int32_t)(call << TICKET | (uint32_t)workers));
    __builtin_wasm_memory_atomic_notify(plain(&bell), POOL_MAX);
}

static void share(int worker)
{
    int task;
    while ((task = atomic_fetch_add(&next, 1)) < job_tasks)
        job(job_context, task, worker);
}

/* Opens a ticket: with it, workers may `lend` until `dismiss`. */
int EXPORT(ask)(void)
{
    atomic_store(&desk, (int32_t)((uint32_t)(ticket() + 1) << TICKET));
    return ticket();
}

void EXPORT(dismiss)(void)
{
    ask();
    ring(0);
}

/* Worker 1 … POOL_MAX − 1 takes part in every call until the ticket, which it was given by `ask`, is not open any more. */
void EXPORT(lend)(int worker, int given)
{
    int32_t heard = atomic_load(&bell), now = atomic_load(&desk);
    do {
        if ((int)((uint32_t)now >> TICKET) != given)
            return;
    } while (!atomic_compare_exchange_weak(&desk, &now, now | 1 << worker));
    while (ticket() == given) {
        wait_while(&bell, heard);
        heard = atomic_load(&bell);
        if (!(heard & 1 << worker))
            continue;
        share(worker);
        if (atomic_fetch_sub(&working, 1) == 1)
            __builtin_wasm_memory_atomic_notify(plain(&working), 1);
    }
}

static int32_t there(void) { return atomic_load(&desk) & ((1 << POOL_MAX) - 1); }

/* How many workers are there. */
int EXPORT(lent)(void) { return __builtin_popcount((unsigned)there()); }

int pool_threads(void) { return 1 + lent(); }

void pool_run(void (*run)(void *context, int task, int worker), void *context, int tasks)
{
    int32_t workers = there();
    if (tasks < 2 || workers == 0) {
        for (int task = 0; task < tasks; task++)
            run(context, task, 0);
        return;
    }
    job = run;
    job_context = context;
    job_tasks = tasks;
    atomic_store(&next, 0);
    atomic_store(&working, __builtin_popcount((unsigned)workers));
    ring(workers);
    share(0);
    for (int32_t left; (left = atomic_load(&working)) > 0;)
        wait_while(&working, left);
}

#else
int pool_threads(void) { return 1; }

void pool_run(void (*run)(void *context, int task, int worker), void *context, int tasks)
{
    for (int task = 0; task < tasks; task++)
        run(context, task, 0);
}
#endif
