/* SPDX-License-Identifier: Apache-2.0 */
/*
 * threads64 CONTROL
 *
 * 64 threads, each of which counts in a page of its own until the test says
 * quit; result[i] is thread i's count. When the test says go, each thread
 * writes once into the shared table.
 */
#include <pthread.h>

#include "control.h"

#define THREADS 64

uint64_t *table;
static uint64_t *counters;
static struct control *control;

__attribute__((noinline)) static void note(uint64_t *slot, uint64_t value)
{
	*(volatile uint64_t *)slot = value;
}

static void *count(void *argument)
{
	size_t self = (size_t)argument;
	volatile uint64_t *mine = counters + self * 512;
	int noted = 0;

	while (!control_get(&control->quit)) {
		*mine += 1;
		control->result[self] = (int64_t)*mine;
		if (!noted && control_get(&control->go)) {
			noted = 1;
			note(&table[self], self + 1);
			__atomic_add_fetch(&control->done, 1, __ATOMIC_SEQ_CST);
		}
		nap();
	}
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread[THREADS];

	if (argc < 2)
		return 2;
	control = control_open(argv[1]);
	counters = (uint64_t *)anonymous(THREADS * 4096);
	table = (uint64_t *)anonymous(4096);
	memset(table, 0, 4096);
	control->base = (uint64_t)counters;
	control->length = THREADS * 4096;
	control->spare = (uint64_t)table;
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&thread[i], NULL, count, (void *)i);
	control_set(&control->ready, 1);
	control_serve(control, table, 4096);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
