/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench CONTROL PAGES THREADS PINNED KIND
 *
 * Times accesses that fault: in `floor_area` they are served by a handler of its
 * own, as small as one can be, pinned to the CPU of the first thread; in
 * `subject_area` by whoever took the pages away. A round does both, one after the
 * other; a debugger stops at round_done() and prepares the next one.
 *
 * result[0] and [1]: nanoseconds a fault, floor and subject. With THREADS threads
 * each touches its own part. PINNED pins them (thread i to CPU i modulo the
 * number of CPUs) for both; else only the floor is pinned.
 *
 * KIND chooses what the floor's handler does: 0 copies a page, 1 ends a
 * write protection, 2 moves a page back from a stash of the same mm, 3 ends a
 * write protection and asks before where the thread was.
 */
#define _GNU_SOURCE
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "control.h"

#ifndef UFFDIO_MOVE
struct uffdio_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define UFFDIO_MOVE	  _IOWR(UFFDIO, 0x05, struct uffdio_move)
#define UFFD_FEATURE_MOVE (1ULL << 16)
#endif

#define PAGE	4096UL
#define COPY	0
#define PROTECT 1
#define MOVE	2
#define NAMED	3

char *floor_area;
char *subject_area;
size_t area_length;
uint64_t floor_word;
uint64_t *subject_word;
static char *stash;
static int uffd;
static int n_threads;
static int pinned;
static uint64_t kind;
static struct control *control;
static pthread_barrier_t barrier;

struct work {
	pthread_t thread;
	int self;
	char *area;
	bool pin;
	uint64_t ns;
};

/* A debugger stops here between two rounds. */
__attribute__((noinline)) void round_done(void)
{
	__asm__ volatile("" ::: "memory");
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000ULL + (uint64_t)t.tv_nsec;
}

static void pin_to(int cpu)
{
	cpu_set_t set;
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	CPU_ZERO(&set);
	if (cpu < 0)
		for (long i = 0; i < n; i++)
			CPU_SET((size_t)i, &set);
	else
		CPU_SET((size_t)(cpu % n), &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Where the thread faulted: what a record of its access has to know, and no more. */
static void read_counter(pid_t tid)
{
	static pid_t last;
	static int fd = -1;
	char path[64], line[192];

	if (tid != last) {
		close(fd);
		snprintf(path, sizeof(path), "/proc/self/task/%d/syscall", tid);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		last = tid;
	}
	if (pread(fd, line, sizeof(line), 0) <= 0)
		die("the faulting thread's program counter");
}

static void *handle(void *unused)
{
	static char page[4096] __attribute__((aligned(4096)));
	struct uffd_msg message;

	(void)unused;
	memset(page, 0x5a, sizeof(page));
	pin_to(0);
	while (read(uffd, &message, sizeof(message)) == sizeof(message)) {
		uint64_t at = message.arg.pagefault.address & ~(PAGE - 1);

		if (message.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) {
			struct uffdio_writeprotect wp = {.range = {at, PAGE}};

			if (kind == NAMED)
				read_counter((pid_t)message.arg.pagefault.feat.ptid);
			ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
		} else if (kind == MOVE) {
			struct uffdio_move move = {
				.dst = at,
				.src = (uint64_t)stash + (at - (uint64_t)floor_area),
				.len = PAGE,
			};

			ioctl(uffd, UFFDIO_MOVE, &move);
		} else {
			struct uffdio_copy copy = {.dst = at, .src = (uint64_t)page, .len = PAGE};

			ioctl(uffd, UFFDIO_COPY, &copy);
		}
	}
	return NULL;
}

static void prepare_floor(void)
{
	if (kind == PROTECT || kind == NAMED) {
		struct uffdio_writeprotect wp = {
			.range = {(uint64_t)floor_area, area_length},
			.mode = UFFDIO_WRITEPROTECT_MODE_WP,
		};

		if (ioctl(uffd, UFFDIO_WRITEPROTECT, &wp))
			die("write-protect");
	} else if (kind == MOVE) {
		struct uffdio_move move = {
			.dst = (uint64_t)stash, .src = (uint64_t)floor_area, .len = area_length};

		if (ioctl(uffd, UFFDIO_MOVE, &move))
			die("move");
	} else if (madvise(floor_area, area_length, MADV_DONTNEED)) {
		die("madvise");
	}
}

static void *touch(void *argument)
{
	struct work *w = argument;
	size_t part = area_length / (size_t)n_threads;
	volatile char *from = w->area + part * (size_t)w->self;
	uint64_t start;

	pin_to(w->pin ? w->self : -1);
	pthread_barrier_wait(&barrier);
	start = now_ns();
	for (size_t i = 0; i < part; i += PAGE)
		from[i + 8] = (char)i;
	w->ns = now_ns() - start;
	return NULL;
}

/* Nanoseconds from fault to fault, of one thread. */
static int64_t measure(char *area, bool pin)
{
	struct work work[64];
	uint64_t total = 0;

	pthread_barrier_init(&barrier, NULL, (unsigned int)n_threads);
	for (int i = 0; i < n_threads; i++) {
		work[i] = (struct work){.self = i, .area = area, .pin = pin};
		pthread_create(&work[i].thread, NULL, touch, &work[i]);
	}
	for (int i = 0; i < n_threads; i++) {
		pthread_join(work[i].thread, NULL);
		total += work[i].ns;
	}
	pthread_barrier_destroy(&barrier);
	return (int64_t)(total / (area_length / PAGE));
}

/* What madvise in process takes for the whole area: result[2]. */
static void measure_zap(void)
{
	uint64_t start;

	memset(floor_area, 1, area_length);
	start = now_ns();
	if (madvise(floor_area, area_length, MADV_DONTNEED))
		die("madvise");
	control->result[2] = (int64_t)(now_ns() - start);
}

int main(int argc, char **argv)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg;
	pthread_t handler;

	if (argc < 6)
		return 2;
	control = control_open(argv[1]);
	area_length = strtoull(argv[2], NULL, 0) * PAGE;
	n_threads = atoi(argv[3]);
	pinned = atoi(argv[4]);
	kind = strtoull(argv[5], NULL, 0);
	/* Pages between the areas, so that their mappings stay apart. */
	floor_area = anonymous(area_length + 2 * PAGE);
	mprotect(floor_area + area_length, 2 * PAGE, PROT_NONE);
	stash = anonymous(area_length + 2 * PAGE);
	mprotect(stash + area_length, 2 * PAGE, PROT_NONE);
	madvise(stash, area_length, MADV_DONTFORK);
	subject_area = anonymous(area_length);
	subject_word = (uint64_t *)subject_area;
	madvise(floor_area, area_length, MADV_NOHUGEPAGE);
	madvise(subject_area, area_length, MADV_NOHUGEPAGE);
	/* The first touch of a page of a guest costs many times a warm one. */
	memset(stash, 1, area_length);
	madvise(stash, area_length, MADV_DONTNEED);
	memset(floor_area, 1, area_length);
	memset(subject_area, 1, area_length);
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (kind == MOVE)
		api.features = UFFD_FEATURE_MOVE;
	if (kind == NAMED)
		api.features = UFFD_FEATURE_THREAD_ID;
	if (uffd < 0 || ioctl(uffd, UFFDIO_API, &api))
		die("userfaultfd");
	control->base = (uint64_t)subject_area;
	control->length = area_length;
	control_set(&control->ready, 1);
	measure_zap();
	memset(floor_area, 1, area_length);
	reg = (struct uffdio_register){
		.range = {(uint64_t)floor_area, area_length},
		.mode = UFFDIO_REGISTER_MODE_MISSING |
			(kind == PROTECT || kind == NAMED ? UFFDIO_REGISTER_MODE_WP : 0),
	};
	if (ioctl(uffd, UFFDIO_REGISTER, &reg))
		die("register");
	if (kind == MOVE) {
		reg.range.start = (uint64_t)stash;
		if (ioctl(uffd, UFFDIO_REGISTER, &reg))
			die("register the stash");
	}
	pthread_create(&handler, NULL, handle, NULL);
	control_await(&control->go);
	round_done();
	while (!control_get(&control->quit)) {
		prepare_floor();
		control->result[0] = measure(floor_area, true);
		control->result[1] = measure(subject_area, pinned);
		round_done();
		/* For stops: as many writes as are asked for. */
		for (int64_t i = control->result[8]; i > 0; i--) {
			floor_word += 1;
			*(volatile uint64_t *)subject_word += 1;
		}
	}
	return 0;
}
