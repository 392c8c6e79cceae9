/* SPDX-License-Identifier: Apache-2.0 */
/*
 * keepmem CONTROL BYTES
 *
 * Holds BYTES of a known pattern in a mapping and 8 MiB on the heap, counts
 * `beats` while it runs, and answers with a checksum of the mapping on request.
 * A second thread writes one word every half millisecond, so that a write watch
 * on `ticker` has something to see.
 */
#include <pthread.h>

#include "control.h"

char *memory;
char *heap;
uint64_t *ticker;
size_t memory_length;
static struct control *control;

__attribute__((noinline)) void tick(void)
{
	*(volatile uint64_t *)ticker += 1;
}

static void *run(void *unused)
{
	(void)unused;
	while (!control_get(&control->quit)) {
		if (control_get(&control->go))
			tick();
		nap();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc < 3)
		return 2;
	control = control_open(argv[1]);
	memory_length = strtoull(argv[2], NULL, 0);
	memory = anonymous(memory_length);
	fill_pattern(memory, memory_length, 1);
	heap = NULL;
	for (int i = 0; i < 2048; i++) {
		char *block = malloc(4000);

		if (!block)
			return 1;
		memcpy(block, &heap, sizeof(heap));
		memset(block + 8, i, 3992);
		heap = block;
	}
	ticker = (uint64_t *)anonymous(4096);
	*ticker = 0;
	control->base = (uint64_t)memory;
	control->length = memory_length;
	control->spare = (uint64_t)ticker;
	pthread_create(&thread, NULL, run, NULL);
	control_set(&control->ready, 1);
	control_serve(control, memory, memory_length);
	pthread_join(thread, NULL);
	for (long i = 2047; i >= 0; i--) {
		char *next;

		for (int j = 8; j < 4000; j++)
			if (heap[j] != (char)i)
				return 3;
		memcpy(&next, heap, sizeof(next));
		free(heap);
		heap = next;
	}
	return 0;
}
