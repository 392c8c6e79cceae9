/* The agent's client: system calls in the inferior's mm. Main thread only. */
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define DONTNEED_LOCKED 24 /* MADV_DONTNEED_LOCKED, Linux 5.18 */

#define AGENT_START_US	  5000000
#define MOVE_RAN_NS	  2000000000	/* a thousand times what a chunk takes */
#define SPINS		  100		/* before we sleep: an event comes within microseconds */
#define GUARD_FLAGS	  0x5c000000ull /* SA_RESTORER | SA_NODEFER | SA_ONSTACK | SA_RESTART */
#define SIGNAL_SET_LENGTH 8

static volatile void *mailbox_at(struct pz_session *s, unsigned int offset)
{
	return (volatile char *)s->mailbox + offset;
}

static long futex(volatile unsigned int *word, int op, unsigned int value,
		  const struct timespec *timeout)
{
	return syscall(SYS_futex, word, op, value, timeout, NULL, 0);
}

static bool pidfd_ended(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&p, 1, 0) > 0;
}

bool pz_agent_alive(struct pz_session *s)
{
	return s->agent > 0 && !pidfd_ended(s->agent_pidfd);
}

/* How a call of the agent's is waited for. */
struct patience {
	uint64_t us;				 /* so long at most; 0 without end */
	uint64_t ran_ns;			 /* so much of a CPU at most; 0 without end */
	void (*meanwhile)(struct pz_session *s); /* called all the time */
};

/* Waits until a word of the mailbox has a value. */
static int wait_word(struct pz_session *s, volatile unsigned int *word, unsigned int value,
		     const struct patience *p)
{
	struct timespec slice = {.tv_nsec = p->meanwhile ? 50000 : 2000000};
	uint64_t end = p->us ? pz_now_us() + p->us : 0, ran = 0;
	unsigned int seen, spins = p->meanwhile ? SPINS : 0;

	if (p->ran_ns)
		ran = pz_proc_sched(s->agent, s->agent).ran_ns;
	while ((seen = __atomic_load_n(word, __ATOMIC_ACQUIRE)) != value) {
		if (p->meanwhile)
			p->meanwhile(s);
		if (spins) {
			spins--;
			sched_yield();
			continue;
		}
		if (futex(word, FUTEX_WAIT, seen, &slice) == 0 || errno != ETIMEDOUT)
			continue;
		pz_place_watch(s); /* its call may wait for the fault thread */
		if (pidfd_ended(s->agent_pidfd))
			return -ESRCH;
		if (end && pz_now_us() > end)
			return -ETIMEDOUT;
		/* It turns in the kernel, and only death gets it out: we go on without it. */
		if (p->ran_ns && pz_proc_sched(s->agent, s->agent).ran_ns - ran > p->ran_ns)
			kill(s->agent, SIGKILL);
	}
	return 0;
}

int pz_agent_attach(struct pz_session *s)
{
	volatile struct pz_mailbox *m = s->mailbox;
	const struct patience start = {.us = AGENT_START_US};
	int error = wait_word(s, &m->ready, PZ_AGENT_READY, &start);

	if (error)
		return error;
	s->agent = pz_proc_local_agent(s, m->agent_tid);
	if (s->agent <= 0)
		return -ESRCH;
	s->agent_pidfd = (int)syscall(SYS_pidfd_open, s->agent, 0);
	if (s->agent_pidfd < 0)
		return -errno;
	return pz_proc_same_mm(s->agent, s->options.pid) ? 0 : -ESRCH;
}

static long call(struct pz_session *s, long number, const uint64_t *arguments,
		 const struct patience *p)
{
	volatile struct pz_mailbox *m = s->mailbox;
	unsigned int sequence;
	int error;

	if (pidfd_ended(s->agent_pidfd))
		return -ESRCH;
	/* A call that a predecessor began (recovery) ends first. */
	if (m->done != m->sequence)
		futex(&m->sequence, FUTEX_WAKE, 1, NULL);
	error = wait_word(s, &m->done, m->sequence, p);
	if (error)
		return error;
	m->number = number;
	for (int i = 0; i < 6; i++)
		m->argument[i] = (long long)arguments[i];
	sequence = m->sequence + 1;
	__atomic_store_n(&m->sequence, sequence, __ATOMIC_RELEASE);
	futex(&m->sequence, FUTEX_WAKE, 1, NULL);
	error = wait_word(s, &m->done, sequence, p);
	return error ? error : (long)m->result;
}

long pz_agent_call(struct pz_session *s, long number, const uint64_t *arguments)
{
	static const struct patience endless;

	return call(s, number, arguments, &endless);
}

long pz_agent_syscall(struct pz_session *s, long number, uint64_t a, uint64_t b, uint64_t c)
{
	const uint64_t arguments[6] = {a, b, c};

	return pz_agent_call(s, number, arguments);
}

int pz_agent_map(struct pz_session *s, uint64_t length, int prot, uint64_t *ret)
{
	const uint64_t huge = 2ull << 20;
	uint64_t slop = length >= huge ? huge : 0;
	/* Far from the program's own: not in a hole that it means to map something in. */
	const uint64_t arguments[6] = {s->stash_hint, length + slop, PROT_NONE,
				       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, ~0ull};
	long at = pz_agent_call(s, SYS_mmap, arguments);
	uint64_t start;

	if (at == -EAGAIN)
		return -ENOMEM; /* the limit of locked memory, not a matter of time */
	if (at < 0 && at > -4096)
		return (int)at;
	start = slop ? ((uint64_t)at + huge - 1) & ~(huge - 1) : (uint64_t)at;
	if (start > (uint64_t)at)
		pz_agent_unmap(s, (uint64_t)at, start - (uint64_t)at);
	if (start + length < (uint64_t)at + length + slop)
		pz_agent_unmap(s, start + length, (uint64_t)at + slop - start);
	/* After mlockall(2) it would be populated as soon as it can be. */
	pz_agent_syscall(s, SYS_munlock, start, length, 0);
	pz_agent_syscall(s, SYS_mprotect, start, length, (uint64_t)prot);
	/* Not in children; never filled with zeros by khugepaged. */
	pz_agent_syscall(s, SYS_madvise, start, length, MADV_DONTFORK);
	pz_agent_syscall(s, SYS_madvise, start, length, MADV_NOHUGEPAGE);
	s->stash_hint = (uint64_t)at + length + slop + PZ_PAGE;
	*ret = start;
	return 0;
}

/* The pages of a range, also of one that the program has locked (mlockall); see madvise(2). */
int pz_agent_drop_while(struct pz_session *s, uint64_t start, uint64_t length,
			void (*meanwhile)(struct pz_session *s))
{
	static const uint64_t advices[] = {MADV_DONTNEED, DONTNEED_LOCKED};
	const struct patience p = {.meanwhile = meanwhile};
	int error = -EINVAL;

	for (int i = 0; error == -EINVAL && i < 2; i++) {
		const uint64_t arguments[6] = {start, length, advices[i]};

		error = (int)call(s, SYS_madvise, arguments, &p);
	}
	return error;
}

int pz_agent_drop(struct pz_session *s, uint64_t start, uint64_t length)
{
	return pz_agent_drop_while(s, start, length, NULL);
}

int pz_agent_unmap(struct pz_session *s, uint64_t start, uint64_t length)
{
	return (int)pz_agent_syscall(s, SYS_munmap, start, length, 0);
}

int pz_agent_move(struct pz_session *s, uint64_t dst, uint64_t src, uint64_t length, uint64_t *ret)
{
	volatile struct pz_uffdio_move *m = mailbox_at(s, PZ_MAILBOX_MOVE);
	const struct patience p = {.ran_ns = MOVE_RAN_NS};
	const uint64_t arguments[6] = {(uint64_t)s->options.uffd_number, PZ_UFFDIO_MOVE,
				       s->options.mailbox + PZ_MAILBOX_MOVE};
	int64_t moved;
	long error;

	m->dst = dst;
	m->src = src;
	m->len = length;
	m->mode = PZ_MOVE_MODE_ALLOW_SRC_HOLES;
	m->move = 0;
	error = call(s, SYS_ioctl, arguments, &p);
	moved = m->move; /* from memory that the program can write to as well */
	*ret = moved > 0 ? pz_min((uint64_t)moved, length) & PZ_PAGE_MASK : 0;
	return (int)error;
}

static long sigaction_call(struct pz_session *s, bool set)
{
	const uint64_t arguments[6] = {SIGTRAP, set ? s->options.mailbox + PZ_MAILBOX_SIGNAL : 0,
				       s->options.mailbox + PZ_MAILBOX_SIGNAL_OLD,
				       SIGNAL_SET_LENGTH};

	return pz_agent_call(s, SYS_rt_sigaction, arguments);
}

/*
 * When a debugger is killed while a thread is in the signal stop of a step, its
 * SIGTRAP is delivered and would end the inferior: a handler that does nothing
 * stands in, where the program has none.
 */
int pz_agent_guard_install(struct pz_session *s)
{
	struct pz_kernel_sigaction *new = (void *)(uintptr_t)mailbox_at(s, PZ_MAILBOX_SIGNAL);
	struct pz_kernel_sigaction *old = (void *)(uintptr_t)mailbox_at(s, PZ_MAILBOX_SIGNAL_OLD);
	struct pz_agent_table table;
	long error;

	if (pread(s->mem_fd, &table, sizeof(table), (off_t)(s->options.code + PZ_AGENT_TABLE)) !=
		    (ssize_t)sizeof(table) ||
	    table.magic != PZ_AGENT_MAGIC)
		return -ENOEXEC;
	error = sigaction_call(s, false);
	if (error || old->handler != (uint64_t)(uintptr_t)SIG_DFL)
		return (int)error;
	*new = (struct pz_kernel_sigaction){.handler = s->options.code + table.trap_handler,
					    .flags = GUARD_FLAGS,
					    .restorer = s->options.code + table.restorer};
	error = sigaction_call(s, true);
	if (!error)
		s->shared->guard = 1;
	return (int)error;
}

int pz_agent_guard_remove(struct pz_session *s)
{
	struct pz_kernel_sigaction *new = (void *)(uintptr_t)mailbox_at(s, PZ_MAILBOX_SIGNAL);
	struct pz_kernel_sigaction *old = (void *)(uintptr_t)mailbox_at(s, PZ_MAILBOX_SIGNAL_OLD);
	long error;

	if (!s->shared->guard)
		return 0;
	error = sigaction_call(s, false);
	if (error)
		return (int)error;
	if (old->handler >= s->options.code && old->handler < s->options.code + PZ_PAGE) {
		*new = (struct pz_kernel_sigaction){0};
		error = sigaction_call(s, true);
	}
	s->shared->guard = 0;
	return (int)error;
}
