/* SPDX-License-Identifier: Apache-2.0 */
/*
 * blocked CONTROL futex|nanosleep|read|poll
 *
 * Blocks its main thread in the named system call. A second thread ends the
 * wait when the test says go. result[0] is the call's value, [1] its errno, [2]
 * the milliseconds it took, [3] what it read.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <sys/syscall.h>

#include "control.h"

static struct control *control;
static uint32_t futex_word;
static int pipe_fd[2];
static char *memory;
static size_t memory_length = 1 << 20;

__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

static void *waker(void *unused)
{
	(void)unused;
	control_await(&control->go);
	/* Until the call that was interrupted by a debugger waits again. */
	for (int i = 0; i < 400; i++)
		nap();
	__atomic_store_n(&futex_word, 1, __ATOMIC_SEQ_CST);
	syscall(SYS_futex, &futex_word, FUTEX_WAKE, 1, NULL, NULL, 0);
	if (write(pipe_fd[1], "x", 1) != 1)
		abort();
	/* The threads are counted afterwards. */
	control_await(&control->quit);
	return NULL;
}

static long long now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * 1000LL + t.tv_nsec / 1000000;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	char byte = 0;
	long value = -1;
	long long start;

	if (argc < 3)
		return 2;
	control = control_open(argv[1]);
	if (pipe(pipe_fd))
		return 1;
	memory = anonymous(memory_length);
	fill_pattern(memory, memory_length, 3);
	control->base = (uint64_t)memory;
	control->length = memory_length;
	pthread_create(&thread, NULL, waker, NULL);
	start = now_ms();
	control_set(&control->ready, 1);
	errno = 0;
	if (!strcmp(argv[2], "futex")) {
		value = syscall(SYS_futex, &futex_word, FUTEX_WAIT, 0, NULL, NULL, 0);
	} else if (!strcmp(argv[2], "nanosleep")) {
		struct timespec t = {.tv_sec = 4};

		value = syscall(SYS_nanosleep, &t, NULL);
	} else if (!strcmp(argv[2], "read")) {
		value = read(pipe_fd[0], &byte, 1);
	} else if (!strcmp(argv[2], "poll")) {
		struct pollfd p = {.fd = pipe_fd[0], .events = POLLIN};

		value = poll(&p, 1, 60000);
	}
	control->result[0] = value;
	control->result[1] = errno;
	control->result[2] = now_ms() - start;
	control->result[3] = byte;
	control_set(&control->done, 1);
	finished();
	control_serve(control, memory, memory_length);
	return 0;
}
