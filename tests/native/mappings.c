/* What the test inferior does to its mappings while a helper works on them. */
#define _GNU_SOURCE
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "inferior.h"

static unsigned long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (unsigned long)t.tv_sec * 1000 + (unsigned long)t.tv_nsec / 1000000;
}

static char *reserve(size_t length)
{
	char *at = mmap(NULL, length + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return at + PAGE; /* between inaccessible pages */
}

static unsigned long count_others(const char *at, size_t length, unsigned long value)
{
	unsigned long n = 0;

	for (size_t i = 0; i < length; i += PAGE)
		n += *(const volatile unsigned long *)(at + i) != value;
	return n;
}

static void mark(char *at, size_t length, unsigned long value)
{
	for (size_t i = 0; i < length; i += PAGE)
		*(volatile unsigned long *)(at + i) = value;
}

/*
 * The buffer moves away and back; at its old place there is new memory meanwhile. Counts the
 * rounds, the pages of the new memory and those of the buffer that lost what was written.
 */
static void ping_pong(char *buffer, size_t length, unsigned long ms)
{
	char *other = reserve(length);
	unsigned long rounds = 0, lost_new = 0, lost_moved = 0;

	for (unsigned long end = now_ms() + ms; now_ms() < end; rounds++) {
		char *new;

		mark(buffer, length, rounds);
		mremap(buffer, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, other);
		if (0)
			perror("x");
		new = mmap(buffer, length, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		mark(new, length, ~rounds);
		usleep(300);
		lost_new += count_others(new, length, ~rounds);
		lost_moved += count_others(other, length, rounds);
		mark(other, length, rounds + 1);
		munmap(new, length);
		mremap(other, length, length, MREMAP_MAYMOVE | MREMAP_FIXED, buffer);
		lost_moved += count_others(buffer, length, rounds + 1);
		mmap(other, length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	}
	printf("%lu %lu %lu\n", rounds, lost_new, lost_moved);
}

bool obey_mapping(const char *word, unsigned long a, unsigned long b, char *buffer, size_t length)
{
	if (!strcmp(word, "remappart")) { /* offset length: it moves; its checksum there */
		char *to = reserve(b);

		mremap(buffer + a, b, b, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		printf("%lu\n", checksum(to, b));
	} else if (!strcmp(word, "pingpong")) { /* ms */
		ping_pong(buffer, length, a);
	} else if (!strcmp(word, "close")) { /* descriptor */
		printf("%d\n", close((int)a));
	} else {
		return false;
	}
	return true;
}
