/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls CONTROL
 *
 * System calls that write one after the other, without a pause between them:
 * some wait for more (MSG_WAITALL), some return short when a signal comes (a
 * long read of urandom). Values and errno as in syscalls_write.c; spare is 1
 * where each brought what it should.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

#include "control.h"

#define LENGTH (1 << 20)

char *area;
static struct control *control;
static int sockets[2], fd[2], calls;
static pthread_barrier_t received;

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

/* The second part comes when the receiver has been asleep over the first. */
static void *sender(void *unused)
{
	static char text[10000];

	(void)unused;
	control_await(&control->go);
	memset(text, 's', sizeof(text));
	if (send(sockets[1], text, 3000, 0) != 3000)
		abort();
	usleep(100000);
	if (send(sockets[1], text, 7000, 0) != 7000)
		abort();
	pthread_barrier_wait(&received);
	if (write(fd[1], "hello pipe", 10) != 10)
		abort();
	for (;;)
		pause();
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int urandom, self;

	if (argc < 2)
		return 2;
	control = control_open(argv[1]);
	area = anonymous(LENGTH);
	memset(area, 0x11, LENGTH);
	urandom = open("/dev/urandom", O_RDONLY);
	self = open("/proc/self/exe", O_RDONLY);
	if (urandom < 0 || self < 0 || pipe(fd) || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets) ||
	    pthread_barrier_init(&received, NULL, 2))
		return 1;
	if (pthread_create(&thread, NULL, sender, NULL))
		return 1;
	control->base = (uint64_t)area;
	control->length = LENGTH;
	control_set(&control->ready, 1);
	control_await(&control->go);

	note(recv(sockets[0], area + 100, 10000, MSG_WAITALL));
	pthread_barrier_wait(&received);
	note(read(fd[0], area + 20000, 100));
	note(read(urandom, area + 40000, 200000));
	note(pread(self, area + 300000, 12000, 0));
	note(getcwd(area + 500000, 400) ? 0 : -1);

	control->spare = area[100] == 's' && area[10099] == 's' &&
			 !memcmp(area + 20000, "hello pipe", 10) &&
			 !memcmp(area + 300000, "\177ELF", 4) && area[500000] == '/';
	finished();
	control_set(&control->done, 1);
	for (;;)
		pause();
}
