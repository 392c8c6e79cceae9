/*
 * What the programs here share. A program forks a target, whose threads do what
 * they are told through a shared page, watches it from outside, and prints
 * key=value lines. What it finds is judged by the test, not here.
 */
#ifndef FACTS_H
#define FACTS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
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

#define PAGE	    4096ul
#define PATIENCE_MS 20000
#define MAX_ORDERS  10

/* Newer than the oldest supported headers (Debian 12). */
#define FEATURE_WP	       (1ull << 0)
#define FEATURE_EVENT_FORK     (1ull << 1)
#define FEATURE_EVENT_REMAP    (1ull << 2)
#define FEATURE_EVENT_REMOVE   (1ull << 3)
#define FEATURE_EVENT_UNMAP    (1ull << 6)
#define FEATURE_THREAD_ID      (1ull << 8)
#define FEATURE_EXACT_ADDRESS  (1ull << 11)
#define FEATURE_WP_HUGE_SHMEM  (1ull << 12)
#define FEATURE_WP_UNPOPULATED (1ull << 13)
#define FEATURE_POISON	       (1ull << 14)
#define FEATURE_WP_ASYNC       (1ull << 15)
#define FEATURE_MOVE	       (1ull << 16)

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t move;
};
#define IOCTL_MOVE	     _IOWR(UFFDIO, 0x05, struct uffd_move)
#define MOVE_ALLOW_SRC_HOLES (1ull << 1)

struct uffd_poison {
	uint64_t start, len, mode;
	int64_t updated;
};
#define IOCTL_POISON _IOWR(UFFDIO, 0x08, struct uffd_poison)

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif
#ifndef MADV_DONTNEED_LOCKED
#define MADV_DONTNEED_LOCKED 24
#endif
#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif
#define ADVICE_GUARD_INSTALL 102
#define ADVICE_GUARD_REMOVE  103

/* -- printing ------------------------------------------------------------------ */

__attribute__((format(printf, 2, 3))) static inline void say(const char *key, const char *format,
							     ...)
{
	va_list arguments;

	printf("%s=", key);
	va_start(arguments, format);
	vprintf(format, arguments);
	va_end(arguments);
	printf("\n");
	fflush(stdout);
}

/* 0 is "ok", -errno its name, anything else a number. */
static inline void say_result(const char *key, long result)
{
	if (result < 0 && result > -4096)
		say(key, "%s", strerrorname_np((int)-result) ?: "unknown");
	else if (result == 0)
		say(key, "ok");
	else
		say(key, "%ld", result);
}

static inline void say_bool(const char *key, bool value)
{
	say(key, "%s", value ? "yes" : "no");
}

/* What needs this is skipped by the tests. */
static inline void lacking(const char *what, const char *reason)
{
	printf("!%s=%s\n", what, reason);
	fflush(stdout);
}

static inline void fail_at(const char *what, int line)
{
	fprintf(stderr, "line %d: %s: %s\n", line, what, strerror(errno));
	exit(1);
}

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fail_at(#condition, __LINE__);                                             \
	} while (0)

/* -- system calls without libc's errno: also for tasks that share a thread's TLS ------ */

static inline long raw6(long n, long a, long b, long c, long d, long e, long f)
{
	register long r10 asm("r10") = d;
	register long r8 asm("r8") = e;
	register long r9 asm("r9") = f;
	long result;

	asm volatile("syscall"
		     : "=a"(result)
		     : "a"(n), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		     : "rcx", "r11", "memory");
	return result;
}

#define RAW_(n, a, b, c, d, e, f, ...)                                                             \
	raw6(n, (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))
#define RAW(n, ...) RAW_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* One instruction each, whose address is the symbol's. */
asm(".pushsection .text\n"
    ".globl load_byte\n"
    "load_byte: movzbl (%rdi), %eax\n"
    "ret\n"
    ".globl store_byte\n"
    "store_byte: movb %sil, (%rdi)\n"
    "xor %eax, %eax\n"
    "ret\n"
    ".popsection\n");
long load_byte(unsigned long address);
long store_byte(unsigned long address, unsigned long value);

/* -- waiting: never for a time, always for a thing -------------------------------- */

static inline uint64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

#define WAIT_FOR(condition)                                                                        \
	do {                                                                                       \
		uint64_t end_ = now_ms() + PATIENCE_MS;                                            \
		while (!(condition)) {                                                             \
			if (now_ms() > end_)                                                       \
				fail_at("waited in vain for " #condition, __LINE__);               \
			usleep(200);                                                               \
		}                                                                                  \
	} while (0)

/* -- the target ------------------------------------------------------------------- */

struct order {
	unsigned int posted, done;
	int tid;
	long (*function)(unsigned long *argument);
	unsigned long argument[7];
	long result;
};

struct target {
	pid_t pid;
	int pidfd;
	int threads;
	struct order *order; /* shared */
};

static inline void serve_orders(struct order *o)
{
	unsigned int last = o->done;

	__atomic_store_n(&o->tid, (int)RAW(SYS_gettid), __ATOMIC_RELEASE);
	for (;;) {
		unsigned int posted;

		while ((posted = __atomic_load_n(&o->posted, __ATOMIC_ACQUIRE)) == last)
			RAW(SYS_futex, &o->posted, FUTEX_WAIT, last, 0);
		last = posted;
		o->result = o->function(o->argument);
		__atomic_store_n(&o->done, posted, __ATOMIC_RELEASE);
	}
}

static inline void *order_thread(void *order)
{
	serve_orders(order);
	return NULL;
}

static inline struct target target_start(int threads)
{
	struct target t = {.threads = threads};

	t.order = mmap(NULL, MAX_ORDERS * sizeof(*t.order), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	MUST(t.order != MAP_FAILED);
	fflush(stdout);
	t.pid = fork();
	MUST(t.pid >= 0);
	if (t.pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (int i = 1; i < threads; i++) {
			pthread_t thread;

			MUST(pthread_create(&thread, NULL, order_thread, &t.order[i]) == 0);
		}
		serve_orders(&t.order[0]);
	}
	t.pidfd = (int)syscall(SYS_pidfd_open, t.pid, 0);
	MUST(t.pidfd >= 0);
	for (int i = 0; i < threads; i++)
		WAIT_FOR(__atomic_load_n(&t.order[i].tid, __ATOMIC_ACQUIRE));
	return t;
}

static inline void target_end(struct target *t)
{
	pid_t ended;

	kill(t->pid, SIGKILL);
	do /* its threads too, where they are traced */
		ended = waitpid(-1, NULL, __WALL);
	while (ended >= 0 && ended != t->pid);
	MUST(ended == t->pid);
	close(t->pidfd);
	munmap(t->order, MAX_ORDERS * sizeof(*t->order));
}

static inline void post(struct target *t, int i, long (*function)(unsigned long *),
			const unsigned long *argument)
{
	struct order *o = &t->order[i];

	memcpy(o->argument, argument, sizeof(o->argument));
	o->function = function;
	__atomic_store_n(&o->posted, o->posted + 1, __ATOMIC_RELEASE);
	RAW(SYS_futex, &o->posted, FUTEX_WAKE, 1);
}

static inline bool finished(struct target *t, int i)
{
	return __atomic_load_n(&t->order[i].done, __ATOMIC_ACQUIRE) == t->order[i].posted;
}

static inline long result_of(struct target *t, int i)
{
	WAIT_FOR(finished(t, i));
	return t->order[i].result;
}

static inline long order_syscall(unsigned long *a)
{
	return raw6((long)a[0], (long)a[1], (long)a[2], (long)a[3], (long)a[4], (long)a[5],
		    (long)a[6]);
}

static inline long order_load(unsigned long *a)
{
	return load_byte(a[0]);
}

static inline long order_store(unsigned long *a)
{
	return store_byte(a[0], a[1]);
}

#define ARGUMENTS_(n, a, b, c, d, e, f, ...)                                                       \
	((const unsigned long[7]){(unsigned long)(n), (unsigned long)(a), (unsigned long)(b),      \
				  (unsigned long)(c), (unsigned long)(d), (unsigned long)(e),      \
				  (unsigned long)(f)})
#define ARGUMENTS(n, ...) ARGUMENTS_(n, ##__VA_ARGS__, 0, 0, 0, 0, 0, 0)

/* A system call by a thread of the target: begun, or waited for. */
#define BEGIN(t, i, ...) post(t, i, order_syscall, ARGUMENTS(__VA_ARGS__))
#define CALL(t, i, ...)	 (BEGIN(t, i, __VA_ARGS__), result_of(t, i))

#define BEGIN_LOAD(t, i, address)	  post(t, i, order_load, ARGUMENTS(address))
#define BEGIN_STORE(t, i, address, value) post(t, i, order_store, ARGUMENTS(address, value))
#define LOAD(t, i, address)		  (BEGIN_LOAD(t, i, address), result_of(t, i))
#define STORE(t, i, address, value)	  (BEGIN_STORE(t, i, address, value), result_of(t, i))

/* Anonymous memory of the target, not filled. */
static inline unsigned long target_map(struct target *t, unsigned long pages)
{
	long at = CALL(t, 0, SYS_mmap, 0, pages * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	MUST(at > 0);
	MUST(CALL(t, 0, SYS_madvise, at, pages * PAGE, MADV_NOHUGEPAGE) != -ENOSYS);
	return (unsigned long)at;
}

/* Every page of it gets the value, and the page's number in the second byte. */
static inline void target_fill(struct target *t, unsigned long at, unsigned long pages, int value)
{
	for (unsigned long i = 0; i < pages; i++) {
		STORE(t, 0, at + i * PAGE, value);
		STORE(t, 0, at + i * PAGE + 1, i);
	}
}

/* -- /proc ---------------------------------------------------------------------------- */

static inline ssize_t proc_read(pid_t pid, const char *leaf, char *text, size_t size)
{
	char path[128];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, leaf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, text, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	text[n > 0 ? n : 0] = 0;
	return n;
}

static inline char task_state(pid_t pid, pid_t tid)
{
	char leaf[64], text[1024], *at;

	snprintf(leaf, sizeof(leaf), "task/%d/stat", tid);
	if (proc_read(pid, leaf, text, sizeof(text)) <= 0)
		return 0;
	at = strrchr(text, ')');
	return at ? at[2] : 0;
}

/* The task's line in /proc/PID/task/TID/syscall, once it sleeps. */
static inline void sleeping_line(pid_t pid, pid_t tid, char *line, size_t size)
{
	char leaf[64];

	snprintf(leaf, sizeof(leaf), "task/%d/syscall", tid);
	WAIT_FOR(proc_read(pid, leaf, line, size) > 0 && strncmp(line, "running", 7));
}

static inline uint64_t pagemap_of(pid_t pid, unsigned long address)
{
	uint64_t entry = 0;
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0);
	MUST(pread(fd, &entry, sizeof(entry), (off_t)(address / PAGE * 8)) == 8);
	close(fd);
	return entry;
}

static inline bool present(pid_t pid, unsigned long address)
{
	return pagemap_of(pid, address) >> 63;
}

#define PFN(entry) ((entry) & ((1ull << 55) - 1))

/* Result of reading or writing one byte through /proc/PID/mem. */
static inline long mem_access(pid_t pid, unsigned long address, char *byte, bool write)
{
	char path[64];
	ssize_t n;
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/mem", pid);
	fd = open(path, O_RDWR | O_CLOEXEC);
	MUST(fd >= 0);
	n = write ? pwrite(fd, byte, 1, (off_t)address) : pread(fd, byte, 1, (off_t)address);
	if (n < 0)
		n = -errno;
	close(fd);
	return n;
}

/* Whether the VMA of an address has a flag in smaps. */
static inline bool vm_flag(pid_t pid, unsigned long address, const char *flag)
{
	unsigned long start, end;
	bool inside = false, found = false;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/smaps", pid);
	f = fopen(path, "re");
	MUST(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%lx-%lx ", &start, &end) == 2)
			inside = address >= start && address < end;
		else if (inside && !strncmp(line, "VmFlags:", 8))
			found = strstr(line, flag);
	}
	fclose(f);
	return found;
}

/* Where the named mapping is; 0 if it is not. */
static inline unsigned long mapping_of(pid_t pid, const char *name, unsigned long *length)
{
	unsigned long start, end, found = 0;
	char path[64], line[512];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "re");
	MUST(f);
	while (fgets(line, sizeof(line), f)) {
		if (strstr(line, name) && sscanf(line, "%lx-%lx ", &start, &end) == 2) {
			found = start;
			*length = end - start;
		}
	}
	fclose(f);
	return found;
}

/* -- userfaultfd ----------------------------------------------------------------------- */

static inline int xioctl(int fd, unsigned long request, void *argument)
{
	return ioctl(fd, request, argument) < 0 ? -errno : 0;
}

/* The features of this kernel; ends the program where a userfaultfd is not permitted. */
static inline uint64_t features_or_end(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0) {
		lacking("*", "userfaultfd(2) is not permitted here");
		exit(0);
	}
	MUST(xioctl(fd, UFFDIO_API, &api) == 0);
	close(fd);
	return api.features;
}

/* A userfaultfd made by a thread of the target, and taken out of it; *ret is its number there. */
static inline int uffd_take(struct target *t, uint64_t wanted, int *ret)
{
	struct uffdio_api api = {.api = UFFD_API, .features = wanted};
	int number = (int)CALL(t, 0, SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), fd;

	MUST(number >= 0);
	fd = (int)syscall(SYS_pidfd_getfd, t->pidfd, number, 0);
	MUST(fd >= 0);
	MUST(xioctl(fd, UFFDIO_API, &api) == 0);
	*ret = number;
	return fd;
}

static inline int uffd_register(int fd, unsigned long at, unsigned long length, uint64_t mode)
{
	struct uffdio_register r = {.range = {at, length}, .mode = mode};

	return xioctl(fd, UFFDIO_REGISTER, &r);
}

static inline int uffd_unregister(int fd, unsigned long at, unsigned long length)
{
	struct uffdio_range r = {at, length};

	return xioctl(fd, UFFDIO_UNREGISTER, &r);
}

static inline int uffd_wake(int fd, unsigned long at)
{
	struct uffdio_range r = {at, PAGE};

	return xioctl(fd, UFFDIO_WAKE, &r);
}

static inline int uffd_copy(int fd, unsigned long at, int value, uint64_t mode)
{
	static _Alignas(4096) char page[4096];
	struct uffdio_copy c = {.dst = at, .src = (uintptr_t)page, .len = PAGE, .mode = mode};

	memset(page, value, sizeof(page));
	return xioctl(fd, UFFDIO_COPY, &c);
}

static inline int uffd_zero(int fd, unsigned long at)
{
	struct uffdio_zeropage z = {.range = {at, PAGE}};

	return xioctl(fd, UFFDIO_ZEROPAGE, &z);
}

static inline int uffd_protect_mode(int fd, unsigned long at, unsigned long length, uint64_t mode)
{
	struct uffdio_writeprotect w = {.range = {at, length}, .mode = mode};

	return xioctl(fd, UFFDIO_WRITEPROTECT, &w);
}

static inline int uffd_protect(int fd, unsigned long at, bool protect)
{
	return uffd_protect_mode(fd, at, PAGE, protect ? UFFDIO_WRITEPROTECT_MODE_WP : 0);
}

/* Waits for the next message. A fault that a signal interrupts takes its own back: poll again. */
static inline struct uffd_msg uffd_event(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	struct uffd_msg m;
	ssize_t n;

	do {
		MUST(poll(&p, 1, PATIENCE_MS) == 1);
		n = read(fd, &m, sizeof(m));
	} while (n < 0 && errno == EAGAIN);
	MUST(n == sizeof(m));
	return m;
}

static inline bool uffd_has_event(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, 0) == 1 && (p.revents & POLLIN);
}

/* A mapping of this process with the memory of nobody else. */
static inline char *own_map(unsigned long pages, int flags)
{
	char *at = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
			flags | (flags & MAP_SHARED ? 0 : MAP_PRIVATE) | MAP_ANONYMOUS, -1, 0);

	MUST(at != MAP_FAILED);
	madvise(at, pages * PAGE, MADV_NOHUGEPAGE);
	return at;
}

/* -- a task that shares the target's memory ----------------------------------------------- */

/* In the target: clone(CLONE_VM | flags), which then serves an order of its own. */
static inline long order_clone(unsigned long *a)
{
	long *stack = (long *)a[1];
	long result;

	/* The child returns onto another stack: it may use registers alone. */
	register long order asm("rbx") = (long)a[2];
	register long entry asm("r12") = (long)serve_orders;

	asm volatile("syscall\n"
		     "test %%rax, %%rax\n"
		     "jnz 1f\n"
		     "xor %%ebp, %%ebp\n"
		     "mov %%rbx, %%rdi\n"
		     "call *%%r12\n"
		     "hlt\n"
		     "1:\n"
		     : "=a"(result)
		     : "a"(SYS_clone), "D"(a[0]), "S"(stack), "d"(0), "r"(order), "r"(entry)
		     : "rcx", "r11", "r10", "r8", "memory");
	return result;
}

static inline pid_t agent_start(struct target *t, int slot, unsigned long flags)
{
	unsigned long stack = target_map(t, 16);

	t->order[slot] = (struct order){0};
	post(t, 0, order_clone,
	     ARGUMENTS(CLONE_VM | CLONE_UNTRACED | flags, stack + 16 * PAGE, &t->order[slot]));
	MUST(result_of(t, 0) > 0);
	WAIT_FOR(__atomic_load_n(&t->order[slot].tid, __ATOMIC_ACQUIRE));
	return (pid_t)t->order[0].result;
}

static inline void agent_end(struct target *t, pid_t agent)
{
	int pidfd = (int)syscall(SYS_pidfd_open, agent, 0);
	struct pollfd p = {.fd = pidfd, .events = POLLIN};

	MUST(pidfd >= 0);
	kill(agent, SIGKILL);
	MUST(poll(&p, 1, PATIENCE_MS) == 1);
	close(pidfd);
	CALL(t, 0, SYS_wait4, agent, 0, __WALL, 0);
}

/* UFFDIO_MOVE by an order of the target (a thread or an agent); *ret is the count of bytes. */
static inline long target_move(struct target *t, int i, int number, unsigned long scratch,
			       unsigned long dst, unsigned long src, unsigned long length,
			       uint64_t mode, long *ret)
{
	struct uffd_move m = {.dst = dst, .src = src, .len = length, .mode = mode};
	struct iovec here = {&m, sizeof(m)}, there = {(void *)scratch, sizeof(m)};
	long error;

	MUST(process_vm_writev(t->pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(m));
	error = CALL(t, i, SYS_ioctl, number, IOCTL_MOVE, scratch);
	MUST(process_vm_readv(t->pid, &here, 1, &there, 1, 0) == (ssize_t)sizeof(m));
	*ret = (long)m.move;
	return error;
}

#endif
