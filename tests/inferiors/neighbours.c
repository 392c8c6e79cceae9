/* SPDX-License-Identifier: Apache-2.0 */
/*
 * neighbours CONTROL ROUNDS
 *
 * Writes all around `watched` (64 bytes inside a page): the bytes right before
 * and after it, the rest of the page, and reads of it. Then writes into it three
 * times: its first byte, its last byte, and a word that begins before it.
 */
#include "control.h"

struct layout {
	char before[1024];
	char watched[64];
	char after[4096 - 1024 - 64];
};

struct layout *page;
static struct control *control;

__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

__attribute__((noinline)) static void write_around(volatile char *bytes, size_t i)
{
	bytes[1023] = (char)i;
	bytes[1024 + 64] = (char)i;
	bytes[i % 1024] = (char)i;
	bytes[1088 + i % 3008] = (char)i;
	*(volatile uint64_t *)(bytes + 1016) = i;
	*(volatile uint64_t *)(bytes + 1088) = i;
}

__attribute__((noinline)) static void write_into(struct layout *p)
{
	*(volatile char *)&p->watched[0] = 1;
	*(volatile char *)&p->watched[63] = 2;
	*(volatile uint64_t *)(p->watched - 4) = 0x8877665544332211ULL;
}

int main(int argc, char **argv)
{
	long rounds;
	long seen = 0;

	if (argc < 3)
		return 2;
	control = control_open(argv[1]);
	rounds = strtol(argv[2], NULL, 0);
	page = (struct layout *)anonymous(4096);
	memset(page, 0, 4096);
	control->base = (uint64_t)page;
	control->length = 4096;
	control_set(&control->ready, 1);
	control_await(&control->go);
	for (long i = 0; i < rounds; i++) {
		write_around((volatile char *)page, (size_t)i);
		seen += *(volatile char *)&page->watched[i % 64];
	}
	control->result[0] = seen;
	write_into(page);
	control_set(&control->done, 1);
	finished();
	control_serve(control, page, 4096);
	return 0;
}
