/* SPDX-License-Identifier: Apache-2.0 */
/*
 * forker CONTROL BYTES
 *
 * Forks when the test says go. The child sums the memory: result[0] is its sum,
 * result[1] the parent's, result[2] the child's exit status.
 */
#include <sys/wait.h>

#include "control.h"

char *memory;
static struct control *control;

__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
	size_t length;
	int status = -1;
	pid_t child;

	if (argc < 3)
		return 2;
	control = control_open(argv[1]);
	length = strtoull(argv[2], NULL, 0);
	memory = anonymous(length);
	fill_pattern(memory, length, 5);
	control->base = (uint64_t)memory;
	control->length = length;
	control->spare = checksum(memory, length);
	control_set(&control->ready, 1);
	control_await(&control->go);
	child = fork();
	if (child < 0)
		return 1;
	if (child == 0) {
		control->result[0] = (int64_t)checksum(memory, length);
		_exit(0);
	}
	waitpid(child, &status, 0);
	control->result[1] = (int64_t)checksum(memory, length);
	control->result[2] = status;
	control_set(&control->done, 1);
	finished();
	control_serve(control, memory, length);
	return 0;
}
