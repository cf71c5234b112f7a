#include "pool.h"

#include <stdatomic.h>
#include <stddef.h>

#include "cpu.h"

#if defined(_WIN32)
#include <windows.h>
typedef SRWLOCK Mutex;
typedef CONDITION_VARIABLE Condition;
#define MUTEX_START SRWLOCK_INIT
#define CONDITION_START CONDITION_VARIABLE_INIT
static void lock(Mutex *m) { AcquireSRWLockExclusive(m); }
static int try_lock(Mutex *m) { return TryAcquireSRWLockExclusive(m); }
static void unlock(Mutex *m) { ReleaseSRWLockExclusive(m); }
static void wait_for(Condition *c, Mutex *m) { SleepConditionVariableSRW(c, m, INFINITE, 0); }
static void wake(Condition *c) { WakeAllConditionVariable(c); }
static int process(void) { return 0; }
static void work(void);
static DWORD WINAPI start(void *nothing)
{
    (void)nothing;
    work();
    return 0;
}
static int start_thread(void)
{
    HANDLE thread = CreateThread(NULL, 0, start, NULL, 0, NULL);
    if (thread)
        CloseHandle(thread);
    return thread != NULL;
}
#else
#include <pthread.h>
#include <unistd.h>
typedef pthread_mutex_t Mutex;
typedef pthread_cond_t Condition;
#define MUTEX_START PTHREAD_MUTEX_INITIALIZER
#define CONDITION_START PTHREAD_COND_INITIALIZER
static void lock(Mutex *m) { pthread_mutex_lock(m); }
static int try_lock(Mutex *m) { return pthread_mutex_trylock(m) == 0; }
static void unlock(Mutex *m) { pthread_mutex_unlock(m); }
static void wait_for(Condition *c, Mutex *m) { pthread_cond_wait(c, m); }
static void wake(Condition *c) { pthread_cond_broadcast(c); }
static int process(void) { return (int)getpid(); }
static void work(void);
static void *start(void *nothing)
{
    (void)nothing;
    work();
    return NULL;
}
static int start_thread(void)
{
    pthread_t thread;
    return pthread_create(&thread, NULL, start, NULL) == 0 && pthread_detach(thread) == 0;
}
#endif

static Mutex turn = MUTEX_START; /* held by the call that uses the threads */
static Mutex state = MUTEX_START; /* guards what follows */
static Condition begun = CONDITION_START, ended = CONDITION_START;
static int wanted = 1, started, owner, working;
static unsigned generation;
static struct {
    void (*run)(void *, int, int);
    void *context;
    int tasks;
    atomic_int next;
} job;

static void share(int worker)
{
    int task;
    while ((task = atomic_fetch_add(&job.next, 1)) < job.tasks)
        job.run(job.context, task, worker);
}

/* A thread's main function: joins call after call; threads beyond the number wanted skip a call. */
static void work(void)
{
    lock(&state);
    int me = ++started;
    unsigned seen = generation;
    wake(&ended);
    for (;;) {
        while (seen == generation)
            wait_for(&begun, &state);
        seen = generation;
        if (me < wanted) {
            unlock(&state);
            share(me);
            lock(&state);
        }
        if (--working == 0)
            wake(&ended);
    }
}

/* Starts the threads, also after a fork, which they do not survive. The caller holds `state`. */
static void have_threads(void)
{
    if (owner != process()) {
        static const Condition fresh = CONDITION_START;
        owner = process();
        started = 0;
        begun = ended = fresh;
    }
    while (started + 1 < wanted) {
        int before = started;
        if (!start_thread())
            break;
        while (started == before)
            wait_for(&ended, &state);
    }
}

int pool_threads(void)
{
    lock(&state);
    int n = wanted;
    unlock(&state);
    return n;
}

void pool_run(void (*run)(void *context, int task, int worker), void *context, int tasks)
{
    if (tasks < 2 || !try_lock(&turn)) {
        for (int task = 0; task < tasks; task++)
            run(context, task, 0);
        return;
    }
    lock(&state);
    have_threads();
    job.run = run;
    job.context = context;
    job.tasks = tasks;
    atomic_store(&job.next, 0);
    working = started;
    generation++;
    wake(&begun);
    unlock(&state);
    share(0);
    lock(&state);
    while (working > 0)
        wait_for(&ended, &state);
    unlock(&state);
    unlock(&turn);
}

LVC_API void lvc_set_threads(int threads)
{
    lock(&turn);
    lock(&state);
    wanted = threads < 1 ? 1 : threads > POOL_MAX ? POOL_MAX : threads;
    unlock(&state);
    unlock(&turn);
}
