/* SPDX-License-Identifier: Apache-2.0 */
/*
 * two_writers CONTROL LENGTH WRITES
 *
 * Two threads write to pseudo-random places of one range, 1 to 8 bytes at a
 * time, and note each write before they do it. They share pages, never bytes.
 */
#define _GNU_SOURCE
#include <pthread.h>
#include <sys/syscall.h>

#include "control.h"

char *area;
size_t area_length;
static struct control *control;
static unsigned long writes;
static pthread_barrier_t barrier;

/* A debugger stops here when every write is done. */
__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void store(char *at, uint64_t value, unsigned int width)
{
	switch (width) {
	case 1:
		*(volatile uint8_t *)at = (uint8_t)value;
		break;
	case 2:
		*(volatile uint16_t *)at = (uint16_t)value;
		break;
	case 4:
		*(volatile uint32_t *)at = (uint32_t)value;
		break;
	default:
		*(volatile uint64_t *)at = value;
		break;
	}
}

static void write_all(unsigned int self, uint64_t seed)
{
	struct log_entry *log = control_log(control) + self * writes;
	uint32_t tid = (uint32_t)syscall(SYS_gettid);
	uint64_t state = seed;

	control_await(&control->go);
	pthread_barrier_wait(&barrier);
	for (unsigned long i = 0; i < writes; i++) {
		uint64_t slot = next_random(&state) % (area_length / 16);
		unsigned int width = 1U << (next_random(&state) % 4);
		uint64_t mask = width == 8 ? ~0ULL : (1ULL << (width * 8)) - 1;
		char *at = area + slot * 16 + self * 8;
		uint64_t old = 0;
		uint64_t value = next_random(&state) & mask;

		memcpy(&old, at, width);
		if (value == old)
			value ^= 1;
		log[i] = (struct log_entry){
			.address = (uint64_t)at,
			.old_value = old,
			.new_value = value,
			.tid = tid,
			.width = width,
		};
		store(at, value, width);
	}
	pthread_barrier_wait(&barrier);
	/* Threads and their stacks are compared afterwards. */
	control_await(&control->quit);
}

__attribute__((noinline)) static void *first_writer(void *unused)
{
	(void)unused;
	write_all(0, 0x1234567);
	return NULL;
}

__attribute__((noinline)) static void *second_writer(void *unused)
{
	(void)unused;
	write_all(1, 0x7654321);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[2];

	if (argc < 4)
		return 2;
	control = control_open(argv[1]);
	area_length = strtoull(argv[2], NULL, 0);
	writes = strtoul(argv[3], NULL, 0);
	area = anonymous(area_length);
	fill_pattern(area, area_length, 7);
	control->base = (uint64_t)area;
	control->length = area_length;
	pthread_barrier_init(&barrier, NULL, 3);
	pthread_create(&thread[0], NULL, first_writer, NULL);
	pthread_create(&thread[1], NULL, second_writer, NULL);
	control_set(&control->ready, 1);
	pthread_barrier_wait(&barrier);
	pthread_barrier_wait(&barrier);
	control_set(&control->done, 1);
	finished();
	control_serve(control, area, area_length);
	pthread_join(thread[0], NULL);
	pthread_join(thread[1], NULL);
	return 0;
}
