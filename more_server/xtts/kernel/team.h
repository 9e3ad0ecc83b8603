/* The threads of one call: how they share out work and wait for each other. */

#pragma once

#include <sched.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define MOST_THREADS 128

/* Spins before a waiting thread gives its core away: tens of microseconds. A phase ends within that unless a thread has
 * lost its core, and then that core is what it waits for. Beside one busy process on two cores a step takes 16 ms; 28
 * with 100 spins, 49 with none. */
#define SPINS 1000

typedef struct {
    _Alignas(64) atomic_int taken;
} Share;

typedef struct {
    _Alignas(64) atomic_int arrived;
    _Alignas(64) atomic_int phase; /* counts barriers */
    Share shares[MOST_THREADS];    /* how much of each thread's share of a phase is taken */
} Team;

typedef struct {
    Team *team;
    int number, threads;
} Member;

/* The first unit of a thread's share. */
static inline int share_start(const Member *member, int thread, int units)
{
    return (int)((int64_t)units * thread / member->threads);
}

/* The next of a phase's units for this thread, or -1: first its own share in order, so that it reads memory as one
 * stream (46 GB/s; 36 when two threads take 64 KB in turns), then what others have left. */
static inline int take(const Member *member, int units)
{
    for (int i = 0; i < member->threads; i++) {
        const int thread = (member->number + i) % member->threads;
        const int start = share_start(member, thread, units), size = share_start(member, thread + 1, units) - start;
        atomic_int *taken = &member->team->shares[thread].taken;
        if (atomic_load_explicit(taken, memory_order_relaxed) >= size)
            continue;
        const int unit = atomic_fetch_add_explicit(taken, 1, memory_order_relaxed);
        if (unit < size)
            return start + unit;
    }
    return -1;
}

/* A barrier. Until the others are there, bring `ahead` into this core's cache, so that memory is never idle. */
static inline void meet(const Member *member, const uint8_t *ahead, size_t bytes)
{
    Team *team = member->team;
    const int phase = atomic_load_explicit(&team->phase, memory_order_relaxed);
    if (atomic_fetch_add_explicit(&team->arrived, 1, memory_order_acq_rel) + 1 == member->threads) {
        for (int i = 0; i < member->threads; i++)
            atomic_store_explicit(&team->shares[i].taken, 0, memory_order_relaxed);
        atomic_store_explicit(&team->arrived, 0, memory_order_relaxed);
        atomic_store_explicit(&team->phase, phase + 1, memory_order_release);
        return;
    }
    size_t fetched = 0;
    for (int spins = 0; atomic_load_explicit(&team->phase, memory_order_acquire) == phase;) {
        if (fetched < bytes) {
            __builtin_prefetch(ahead + fetched, 0, 2);
            fetched += 64;
        } else if (spins < SPINS) {
            spins++;
            __builtin_ia32_pause();
        } else {
            sched_yield();
        }
    }
}
