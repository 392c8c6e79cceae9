/*
 * What the thread of a fault was doing: its line of /proc/PID/task/TID/syscall, which is
 * there once it sleeps in the fault.
 *
 * A thread that has lost its CPU is seen awake for as long as others want that, and nobody
 * waits for it: its page is woken a little later, and it faults again. Only one that a signal
 * keeps awake inside a system call never sleeps: it faults again at once, with the signal
 * pending.
 */
#include <sched.h>
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

#define UNKNOWN_CALL   "-2 0x0 0x0"
#define SIGNALLED_CALL "-3 0x0 0x0"
#define READS	       3   /* at least, the CPU given up in between */
#define READS_US       100 /* and for so long */
#define TIMES_PENDING  10  /* faults in a row, awake with a signal, that tell a system call */
#define TIMES_AWAKE    100 /* and without one, where the call has taken it already */

/* The thread is awake: in its call or outside of one. */
bool pz_line_running(const char *line)
{
	return !strncmp(line, "running", 7);
}

/* The thread sleeps in a system call, whose number comes first. */
bool pz_line_in_call(const char *line)
{
	return strncmp(line, "-1 ", 3) != 0;
}

/* It is in a call, of which nothing more is known. */
bool pz_line_unknown(const char *line)
{
	return !strcmp(line, UNKNOWN_CALL) || pz_line_signalled(line);
}

/* And a signal waits for its end: one more makes no difference to it. */
bool pz_line_signalled(const char *line)
{
	return !strcmp(line, SIGNALLED_CALL);
}

/* The last field. */
uint64_t pz_line_pc(const char *line)
{
	const char *last = strrchr(line, ' ');

	return last ? strtoull(last + 1, NULL, 16) : 0;
}

static struct pz_awake *awake_of(struct pz_session *s, pid_t tid)
{
	struct pz_awake *oldest = &s->awake[0];

	for (int i = 0; i < PZ_AWAKE_SLOTS; i++) {
		if (s->awake[i].tid == tid)
			return &s->awake[i];
		if (s->awake[i].used < oldest->used)
			oldest = &s->awake[i];
	}
	*oldest = (struct pz_awake){.tid = tid};
	return oldest;
}

/* It is in the call that was hit before, or in the one after that, whose name is not known. */
static bool line_of_call(struct pz_session *s, pid_t tid, char *line, size_t size)
{
	const struct pz_hit *h = pz_hit_of(s, tid);

	if (!h || !h->ready || !(h->head.flags & PZ_HIT_KERNEL))
		return false;
	snprintf(line, size, "%s", !h->ended ? h->line : h->next[0] ? h->next : UNKNOWN_CALL);
	return true;
}

/* Whether a thread that was woken soon sleeps again, elsewhere. */
bool pz_await_asleep(struct pz_session *s, pid_t tid)
{
	char line[PZ_LINE];

	for (uint64_t end = pz_now_us() + READS_US; pz_now_us() < end; sched_yield()) {
		if (pz_cache_read(&s->syscall_files, s->options.pid, tid, line, sizeof(line)) > 0 &&
		    !pz_line_running(line))
			return true;
	}
	return false;
}

/*
 * The line of a call that has been let go on: where a signal waits for its end, the thread stops
 * there for the debugger, still in the call by its registers. Else the line stays as it is.
 */
void pz_line_of_stopped(struct pz_session *s, pid_t tid, char *line, size_t size)
{
	char found[PZ_LINE];

	for (uint64_t end = pz_now_us() + READS_US; pz_now_us() < end; sched_yield()) {
		if (pz_proc_state(s->options.pid, tid) != 't')
			continue;
		if (pz_cache_read(&s->syscall_files, s->options.pid, tid, found, sizeof(found)) >
			    0 &&
		    !pz_line_running(found) && pz_line_in_call(found))
			snprintf(line, size, "%s", found);
		return;
	}
}

/* 0 with the line, -EAGAIN where it has to fault again, -ESRCH for no thread of the inferior. */
int pz_syscall_line(struct pz_session *s, const struct pz_fault *f, char *line, size_t size)
{
	uint64_t end = pz_now_us() + READS_US;
	struct pz_awake *a;

	for (int i = 0; i < READS || pz_now_us() < end; i++) {
		if (i)
			sched_yield();
		if (pz_cache_read(&s->syscall_files, s->options.pid, f->tid, line, size) <= 0)
			return -ESRCH;
		if (!pz_line_running(line)) {
			if (s->n_awake)
				*awake_of(s, f->tid) = (struct pz_awake){.tid = f->tid};
			return 0;
		}
		/* A signal that is pending has it spin inside its call. */
		if (line_of_call(s, f->tid, line, size))
			return 0;
	}
	s->n_awake++;
	a = awake_of(s, f->tid);
	a->used = s->n_awake;
	/* Outside a call the signal would have come before the next fault. */
	a->pending = pz_proc_signal_pending(s->options.pid, f->tid) ? a->pending + 1 : 0;
	if (++a->times < TIMES_AWAKE && a->pending < TIMES_PENDING)
		return -EAGAIN;
	*a = (struct pz_awake){.tid = f->tid};
	snprintf(line, size, SIGNALLED_CALL);
	return 0;
}
