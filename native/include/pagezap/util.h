/* Small things: scope-bound cleanup, time, rounding. */
#ifndef PAGEZAP_UTIL_H
#define PAGEZAP_UTIL_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define PZ_PAGE	     4096ull
#define PZ_PAGE_MASK (~(PZ_PAGE - 1))

static inline uint64_t pz_page_down(uint64_t a)
{
	return a & PZ_PAGE_MASK;
}

static inline uint64_t pz_page_up(uint64_t a)
{
	return (a + PZ_PAGE - 1) & PZ_PAGE_MASK;
}

static inline uint64_t pz_min(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static inline uint64_t pz_max(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static inline uint64_t pz_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static inline uint64_t pz_now_us(void)
{
	return pz_now_ns() / 1000;
}

static inline void pz_sleep_us(unsigned int us)
{
	struct timespec t = {us / 1000000, (long)(us % 1000000) * 1000};

	nanosleep(&t, NULL);
}

static inline void pz_close_cleanup(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void pz_free_cleanup(void *p)
{
	free(*(void **)p);
}

#define pz_autoclose __attribute__((cleanup(pz_close_cleanup)))
#define pz_autofree  __attribute__((cleanup(pz_free_cleanup)))

#endif
