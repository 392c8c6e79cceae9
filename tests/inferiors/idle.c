/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle CONTROL THREADS
 *
 * Does nothing and touches nothing of the C library's, in THREADS threads and in main, until
 * the test says go. Then main calls work(), and waits until the test says quit.
 */
#include <pthread.h>
#include <sys/syscall.h>

#include "control.h"

char *heap;
uint64_t sum;
static struct control *control;

/* Not by the library, which would look at the thread's control block. */
__attribute__((noinline)) static void sleep_bare(void)
{
	struct timespec t = {.tv_nsec = 2000000};
	long number = SYS_nanosleep;

	__asm__ volatile("syscall" : "+a"(number) : "D"(&t), "S"(NULL) : "rcx", "r11", "memory");
}

static void *wait(void *unused)
{
	while (!control_get(&control->quit))
		sleep_bare();
	return unused;
}

__attribute__((noinline)) void work(void)
{
	for (int i = 0; i < 100000; i++)
		heap[i] = (char)(heap[i] + 1);
	sum = checksum(heap, 100000);
	control->sum = sum;
	control_set(&control->done, 1);
}

int main(int argc, char **argv)
{
	pthread_t thread[16];
	int threads;

	if (argc < 3)
		return 2;
	control = control_open(argv[1]);
	threads = atoi(argv[2]);
	heap = malloc(100000);
	if (!heap)
		return 1;
	fill_pattern(heap, 100000, 1);
	for (int i = 0; i < threads; i++)
		pthread_create(&thread[i], NULL, wait, NULL);
	control_set(&control->ready, 1);
	while (!control_get(&control->go)) {
		control_set(&control->beats, control_get(&control->beats) + 1);
		sleep_bare();
	}
	work();
	while (!control_get(&control->quit))
		sleep_bare();
	for (int i = 0; i < threads; i++)
		pthread_join(thread[i], NULL);
	return 0;
}
