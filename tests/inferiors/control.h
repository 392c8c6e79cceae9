/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a test talks to its inferior: a small file that both map. The layout is
 * mirrored by harness/control.py.
 */
#ifndef CONTROL_H
#define CONTROL_H

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CONTROL_SIZE	   (256 * 1024)
#define CONTROL_LOG_OFFSET 4096

struct control {
	uint32_t pid;
	uint32_t ready;	   /* the inferior is set up */
	uint32_t go;	   /* the test lets it work */
	uint32_t done;	   /* it has worked */
	uint32_t verify;   /* raised by the test: a checksum is asked for */
	uint32_t verified; /* equal to verify: sum holds it */
	uint32_t quit;
	uint32_t beats; /* counts up while it runs */
	uint64_t base;	/* the memory the test is about */
	uint64_t length;
	uint64_t sum;
	uint64_t spare;
	int64_t result[64];
};

/* One write of a writer, noted before it is done. */
struct log_entry {
	uint64_t address;
	uint64_t old_value;
	uint64_t new_value;
	uint32_t tid;
	uint32_t width;
};

static inline struct control *control_open(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	void *map;

	if (fd < 0) {
		perror(path);
		exit(1);
	}
	map = mmap(NULL, CONTROL_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (map == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	close(fd);
	((struct control *)map)->pid = (uint32_t)getpid();
	return map;
}

static inline struct log_entry *control_log(struct control *c)
{
	return (struct log_entry *)((char *)c + CONTROL_LOG_OFFSET);
}

static inline uint32_t control_get(uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline void control_set(uint32_t *word, uint32_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void nap(void)
{
	struct timespec t = {.tv_nsec = 500000};

	nanosleep(&t, NULL);
}

static inline void control_await(uint32_t *word)
{
	while (!control_get(word))
		nap();
}

static inline char *anonymous(size_t length)
{
	char *map = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (map == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return map;
}

static inline uint64_t checksum(const void *data, size_t length)
{
	const uint64_t *word = data;
	uint64_t sum = 0xcbf29ce484222325ULL;

	for (size_t i = 0; i < length / 8; i++)
		sum = (sum ^ word[i]) * 0x100000001b3ULL;
	return sum;
}

/* Content that differs in every word, so that a page in the wrong place is seen. */
static inline void fill_pattern(void *data, size_t length, uint64_t seed)
{
	uint64_t *word = data;

	for (size_t i = 0; i < length / 8; i++)
		word[i] = (i + 1) * 0x9e3779b97f4a7c15ULL + seed;
}

/* Runs until the test says quit, answering what it asks. */
static inline void control_serve(struct control *c, const void *data, size_t length)
{
	while (!control_get(&c->quit)) {
		uint32_t verify = control_get(&c->verify);

		if (verify != control_get(&c->verified)) {
			c->sum = checksum(data, length);
			control_set(&c->verified, verify);
		}
		control_set(&c->beats, control_get(&c->beats) + 1);
		nap();
	}
}

static inline uint64_t next_random(uint64_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 7;
	*state ^= *state << 17;
	return *state;
}

#endif
