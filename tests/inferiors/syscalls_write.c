/* SPDX-License-Identifier: Apache-2.0 */
/*
 * syscalls_write CONTROL
 *
 * Lets the kernel write into one range by several system calls, and stores each
 * call's value and errno in result[2n] and result[2n + 1], the sum of what
 * arrived in spare. The calls, in order: read, pread64, recvfrom, readv, read of
 * a closed descriptor, and a read that crosses a page.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "control.h"

char *area;
static struct control *control;
static int calls;

__attribute__((noinline)) void finished(void)
{
	__asm__ volatile("" ::: "memory");
}

static void note(long value)
{
	control->result[2 * calls] = value;
	control->result[2 * calls + 1] = value < 0 ? errno : 0;
	calls++;
}

int main(int argc, char **argv)
{
	static char text[6000];
	int fd[2];
	int sockets[2];
	struct iovec iov[2];
	FILE *file;

	if (argc < 2)
		return 2;
	control = control_open(argv[1]);
	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = (char)('a' + i % 26);
	area = anonymous(65536);
	memset(area, 0x11, 65536);
	file = tmpfile();
	if (!file || fwrite(text, 1, sizeof(text), file) != sizeof(text) || fflush(file))
		return 1;
	if (pipe(fd) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		return 1;
	if (write(fd[1], text, 6000) != 6000 || send(sockets[1], text, 300, 0) != 300)
		return 1;
	control->base = (uint64_t)area;
	control->length = 65536;
	control_set(&control->ready, 1);
	control_await(&control->go);

	note(read(fd[0], area + 100, 500));
	note(pread(fileno(file), area + 5000, 700, 26));
	note(recv(sockets[0], area + 9000, 1000, 0));
	iov[0] = (struct iovec){area + 16384, 10};
	iov[1] = (struct iovec){area + 20480, 20};
	note(readv(fd[0], iov, 2));
	note(read(-1, area + 24576, 10));
	note(read(fd[0], area + 32768 - 1000, 3000));

	control->spare = checksum(area, 65536);
	control_set(&control->done, 1);
	finished();
	control_serve(control, area, 65536);
	return 0;
}
