/* SPDX-License-Identifier: Apache-2.0 */
/* reader CONTROL CALLS: reads again and again into the same place, as servers do. */
#include "control.h"

char *area;
static struct control *control;

__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

int main(int argc, char **argv)
{
	int fd[2];
	long calls;

	if (argc < 3 || pipe(fd))
		return 2;
	control = control_open(argv[1]);
	calls = strtol(argv[2], NULL, 0);
	area = anonymous(65536);
	memset(area, 1, 65536);
	control->base = (uint64_t)area;
	control->length = 65536;
	control_set(&control->ready, 1);
	control_await(&control->go);
	for (long i = 0; i < calls; i++) {
		if (write(fd[1], "0123456789012345678901234567890", 30) != 30)
			return 1;
		if (read(fd[0], area + 0x185, 1000) == 30)
			control->result[0]++;
		nap();
	}
	control_set(&control->done, 1);
	finished();
	control_serve(control, area, 65536);
	return 0;
}
