/*
 * A test inferior that makes a session's descriptors and its agent itself, as a
 * debugger would by injection, and then obeys lines on its standard input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "inferior.h"

#define CODE_LENGTH 16384ul

struct host {
	int uffd, command;
	void *mailbox, *code;
};

/* The clone that the debugger injects: one syscall instruction at offset 0 of the image. */
static long inject_clone(struct host *h)
{
	unsigned long flags = CLONE_VM | CLONE_FILES | CLONE_SIGHAND | CLONE_FS | 0x00800000;
	long result;

	/* The debugger restores the registers; here the return address does it. */
	__asm__ volatile("mov %[mailbox], %%r12\n"
			 "mov %[top], %%r13\n"
			 "xor %%edx, %%edx\n"
			 "xor %%r10d, %%r10d\n"
			 "xor %%r8d, %%r8d\n"
			 "syscall\n"
			 "test %%rax, %%rax\n"
			 "jnz 1f\n"
			 "add $2, %[code]\n" /* the intermediate goes on after the instruction */
			 "jmp *%[code]\n"
			 "1:\n"
			 : "=a"(result)
			 : "a"(SYS_clone), "D"(flags),
			   "S"((char *)h->code + 2 * PAGE), [mailbox] "r"(h->mailbox),
			   [top] "r"((char *)h->code + 4 * PAGE), [code] "b"(h->code)
			 : "rcx", "r11", "r12", "r13", "rdx", "r10", "r8", "memory");
	return result;
}

static int selfhost(struct host *h, const char *image)
{
	int fd = open(image, O_RDONLY | O_CLOEXEC);
	long child;

	h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (h->uffd < 0) /* UFFD_USER_MODE_ONLY */
		h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1);
	h->command = memfd_create("pagezap", MFD_CLOEXEC);
	if (fd < 0 || h->uffd < 0 || h->command < 0 || ftruncate(h->command, PAGE))
		return -1;
	h->mailbox = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, h->command, 0);
	h->code =
		mmap(NULL, CODE_LENGTH, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (read(fd, h->code, PAGE) <= 0)
		return -1;
	close(fd);
	mprotect(h->code, PAGE, PROT_READ | PROT_EXEC);
	child = inject_clone(h);
	return waitpid((pid_t)child, NULL, __WALL) == child ? 0 : -1;
}

struct hammer {
	volatile uint64_t *words;
	size_t count;
	unsigned int seed;
	volatile int *stop;
	uint64_t rounds, errors;
};

/* Counts in its own words; a word that went back is a lost update. */
static void *hammer_main(void *argument)
{
	struct hammer *h = argument;
	uint64_t *expected = calloc(h->count, sizeof(*expected));

	for (size_t i = 0; i < h->count; i++)
		expected[i] = h->words[i * 512];
	while (!*h->stop) {
		size_t i = (size_t)rand_r(&h->seed) % h->count;

		if (h->words[i * 512] != expected[i])
			h->errors++;
		h->words[i * 512] = ++expected[i];
		h->rounds++;
	}
	free(expected);
	return NULL;
}

static void do_hammer(char *buffer, size_t pages, unsigned int ms)
{
	struct hammer h[2];
	pthread_t thread[2];
	volatile int stop = 0;
	struct timespec t = {ms / 1000, (long)(ms % 1000) * 1000000};

	for (unsigned int i = 0; i < 2; i++) {
		h[i] = (struct hammer){
			(volatile uint64_t *)(buffer + 8 * i), pages, i, &stop, 0, 0};
		pthread_create(&thread[i], NULL, hammer_main, &h[i]);
	}
	nanosleep(&t, NULL);
	stop = 1;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	printf("rounds %lu errors %lu\n", h[0].rounds + h[1].rounds, h[0].errors + h[1].errors);
}

uint64_t checksum(const char *at, size_t length)
{
	uint64_t sum = 1469598103934665603ull;

	for (size_t i = 0; i < length; i++)
		sum = (sum ^ (unsigned char)at[i]) * 1099511628211ull;
	return sum;
}

static double now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static int compare(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Writes to pages one by one; prints the median time. */
static void do_touch(volatile char *at, size_t pages)
{
	double *times = malloc(pages * sizeof(*times));

	for (size_t i = 0; i < pages; i++) {
		double start = now_us();

		at[i * PAGE] = 1;
		times[i] = now_us() - start;
	}
	qsort(times, pages, sizeof(*times), compare);
	printf("median %.2f p90 %.2f\n", times[pages / 2], times[pages * 9 / 10]);
	free(times);
}

struct floor_handler {
	int uffd, cpu;
	bool copy;
	char *page;
};

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* The least that a handler can do. */
static void *floor_main(void *argument)
{
	struct floor_handler *h = argument;
	struct pollfd p = {.fd = h->uffd, .events = POLLIN};
	struct uffd_msg m;

	if (h->cpu >= 0)
		pin(h->cpu);
	while (poll(&p, 1, -1) > 0) {
		uint64_t at;

		if (read(h->uffd, &m, sizeof(m)) != (ssize_t)sizeof(m))
			continue;
		at = m.arg.pagefault.address & ~(PAGE - 1);
		if (h->copy) {
			struct uffdio_copy c = {at, (uintptr_t)h->page, PAGE, 0, 0};

			ioctl(h->uffd, UFFDIO_COPY, &c);
		} else {
			struct uffdio_zeropage z = {{at, PAGE}, 0, 0};

			ioctl(h->uffd, UFFDIO_ZEROPAGE, &z);
		}
	}
	return NULL;
}

/* Faults served by a thread of this process: what the helper is measured against. */
static void do_floor(size_t pages, int cpu, bool copy)
{
	struct floor_handler *h = calloc(1, sizeof(*h));
	struct uffdio_api api = {.api = UFFD_API};
	char *area = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	struct uffdio_register r = {
		{(uintptr_t)area, pages * PAGE}, UFFDIO_REGISTER_MODE_MISSING, 0};
	pthread_t thread;

	*h = (struct floor_handler){.cpu = cpu, .copy = copy, .page = aligned_alloc(PAGE, PAGE)};
	memset(h->page, 1, PAGE);
	h->uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	ioctl(h->uffd, UFFDIO_API, &api);
	ioctl(h->uffd, UFFDIO_REGISTER, &r);
	pthread_create(&thread, NULL, floor_main, h);
	usleep(10000);
	do_touch(area, pages);
	ioctl(h->uffd, UFFDIO_UNREGISTER, &r.range);
	munmap(area, pages * PAGE);
}

static volatile sig_atomic_t spun;

static void stop_spinning(int number)
{
	(void)number;
	spun = 1;
}

/* Forks, drops a page, moves the last one and forks again, before anything came to it. */
static void busy_child(char *buffer, size_t length)
{
	char *last = buffer + length - PAGE;

	if (fork() == 0) {
		printf("%lu", checksum(buffer, length));
		fflush(stdout);
		_exit(0);
	}
	madvise(last - PAGE, PAGE, MADV_DONTNEED);
	last = mremap(last, PAGE, PAGE, MREMAP_MAYMOVE | MREMAP_FIXED,
		      mmap(NULL, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	wait(NULL);
	if (fork() == 0) {
		printf(" %lu %lu %lu\n", checksum(buffer, length - 2 * PAGE),
		       checksum(buffer + length - 2 * PAGE, PAGE), checksum(last, PAGE));
		fflush(stdout);
		_exit(0);
	}
	wait(NULL);
	_exit(0);
}

static volatile pid_t reader_tid;

static void *read_byte(void *at)
{
	reader_tid = (pid_t)syscall(SYS_gettid);
	return (void *)(uintptr_t) * (volatile unsigned char *)at;
}

/* The thread waits in its fault. */
static int asleep(pid_t tid)
{
	char path[64], line[16] = "";
	FILE *f;

	snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
	f = fopen(path, "r");
	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	return !strncmp(line, "-1 ", 3);
}

static void leave(void);

static void obey(char *line, char **buffer, size_t *length)
{
	unsigned long a = 0, b = 0, c = 0;
	char word[32] = "";

	sscanf(line, "%31s %lu %lu %lu", word, &a, &b, &c);
	if (!strcmp(word, "write")) { /* offset byte */
		(*buffer)[a] = (char)b;
		printf("ok\n");
	} else if (!strcmp(word, "read")) { /* offset */
		printf("%u\n", (unsigned char)(*buffer)[a]);
	} else if (!strcmp(word, "sum")) { /* offset length */
		printf("%lu\n", checksum(*buffer + a, b));
	} else if (!strcmp(word, "fill")) { /* seed: every page differs */
		for (size_t i = 0; i < *length; i += 8)
			*(uint64_t *)(*buffer + i) = (i + 1) * 0x9e3779b97f4a7c15ull + a;
		printf("ok\n");
	} else if (!strcmp(word, "madvise")) { /* offset length advice */
		printf("%d\n", madvise(*buffer + a, b, (int)c));
	} else if (!strcmp(word, "munmap")) {
		printf("%d\n", munmap(*buffer + a, b));
	} else if (!strcmp(word, "mprotect")) {
		printf("%d\n", mprotect(*buffer + a, b, (int)c));
	} else if (!strcmp(word, "mlock")) {
		printf("%d\n", mlock(*buffer + a, b));
	} else if (!strcmp(word, "mlockall")) { /* flags */
		printf("%d\n", mlockall((int)a));
	} else if (!strcmp(word, "remap")) { /* the whole buffer moves */
		char *to = mmap(NULL, *length, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		*buffer = mremap(*buffer, *length, *length, MREMAP_MAYMOVE | MREMAP_FIXED, to);
		printf("%lu\n", (unsigned long)*buffer);
	} else if (!strcmp(word, "fork")) { /* offset length: the child's checksum */
		fflush(stdout);
		if (fork() == 0) {
			printf("%lu\n", checksum(*buffer + a, b));
			fflush(stdout);
			if (c)
				raise(SIGSTOP);
			_exit(0);
		}
		if (!c)
			wait(NULL);
		return;
	} else if (!strcmp(word, "busyfork")) { /* length: what the child's child finds */
		fflush(stdout);
		if (fork() == 0)
			busy_child(*buffer, a);
		wait(NULL);
		return;
	} else if (!strcmp(word, "doomed")) { /* a thread waits for the page that is unmapped */
		pthread_t thread;

		pthread_create(&thread, NULL, read_byte, *buffer);
		while (!asleep(reader_tid))
			;
		munmap(*buffer, PAGE);
		pthread_join(thread, NULL);
	} else if (!strcmp(word, "daemonize")) { /* the child obeys, the parent ends */
		if (fork())
			_exit(0);
		printf("%d\n", getpid());
	} else if (!strcmp(word, "sysread")) { /* offset length: read(2) into the buffer */
		int p[2];

		if (pipe(p) || b > 65536)
			return;
		for (size_t i = 0; i < b; i++) {
			if (write(p[1], "Z", 1) != 1)
				return;
		}
		printf("%zd\n", read(p[0], *buffer + a, b));
		close(p[0]);
		close(p[1]);
	} else if (!strcmp(word, "list")) { /* offset length: this folder's entries, by one call */
		int fd = open(".", O_RDONLY | O_DIRECTORY);

		printf("%ld\n", syscall(SYS_getdents64, fd, *buffer + a, b));
		close(fd);
	} else if (!strcmp(word, "drops")) { /* ms: page 0 is written and dropped; how often */
		unsigned long n = 0;

		for (double end = now_us() + (double)a * 1000; now_us() < end; n++) {
			*(volatile char *)*buffer = 7;
			madvise(*buffer, PAGE, MADV_DONTNEED);
		}
		printf("%lu\n", n);
	} else if (!strcmp(word, "holes")) { /* pages: unmaps every second one of twice as many */
		for (size_t i = 0; i < a; i++)
			munmap(*buffer + 2 * i * PAGE, PAGE);
		puts("ok");
	} else if (!strcmp(word, "hammer")) { /* pages ms */
		do_hammer(*buffer, a, (unsigned int)b);
	} else if (!strcmp(word, "touch")) { /* offset pages */
		do_touch(*buffer + a, b);
	} else if (!strcmp(word, "floor")) { /* pages cpu+1 copy */
		do_floor(a, (int)b - 1, c);
	} else if (!strcmp(word, "pin")) { /* cpu */
		pin((int)a);
		printf("ok\n");
	} else if (!strcmp(word, "spin")) { /* until SIGUSR1 */
		signal(SIGUSR1, stop_spinning);
		while (!spun)
			;
		spun = 0;
		printf("spun\n");
	} else if (!strcmp(word, "trap")) {
		syscall(SYS_tgkill, getpid(), gettid(), SIGTRAP);
		printf("ok\n");
	} else if (!strcmp(word, "name")) { /* the thread's, from now on */
		line[strcspn(line, "\n")] = 0;
		printf("%d\n", prctl(PR_SET_NAME, line + strlen("name ")));
	} else if (!strcmp(word, "leave")) { /* the leader ends, another thread obeys */
		leave();
	} else if (!strcmp(word, "exec")) {
		execl("/bin/sleep", "sleep", "30", (char *)NULL);
	} else if (!obey_mapping(word, a, b, *buffer, *length)) {
		printf("?\n");
	}
	fflush(stdout);
}

static char *buffer;
static size_t length;

static void obey_all(void)
{
	char *line = NULL;
	size_t size = 0;

	fflush(stdout);
	while (getline(&line, &size, stdin) > 0)
		obey(line, &buffer, &length);
	exit(0);
}

static void *go_on(void *argument)
{
	printf("%d\n", gettid());
	obey_all();
	return argument;
}

static void leave(void)
{
	pthread_t thread;

	pthread_create(&thread, NULL, go_on, NULL);
	pthread_exit(NULL);
}

int main(int argc, char **argv)
{
	struct host h;

	length = argc > 2 ? strtoul(argv[2], NULL, 0) : 1 << 20;
	if (argc < 2 || selfhost(&h, argv[1]))
		return 1;
	/* Between inaccessible pages, so that it merges with nothing. */
	buffer = mmap(NULL, length + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	buffer += PAGE;
	mprotect(buffer, length, PROT_READ | PROT_WRITE);
	printf("%d %d %d %lu %lu %lu %lu\n", getpid(), h.uffd, h.command, (unsigned long)h.mailbox,
	       (unsigned long)h.code, (unsigned long)buffer, length);
	obey_all();
	return 0;
}
