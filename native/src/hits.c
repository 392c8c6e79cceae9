/* Stops of the inferior's threads, and system calls whose end is awaited. Lock held. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

/* Looks, 100 us apart, at a thread that runs all the time, in its call or after it: such a call
 * is one that a signal might cut short, so it is given time. */
#define RUNNING_LIMIT 200
#define AWAIT_MAX_US  1000

/* The latest hit of a thread. */
struct pz_hit *pz_hit_of(struct pz_session *s, pid_t tid)
{
	struct pz_hit *latest = NULL;

	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (h->used && h->head.tid == (uint32_t)tid &&
		    (!latest || h->order > latest->order))
			latest = h;
	}
	return latest;
}

/* The first hit of a thread that HIT_TAKE may have. */
struct pz_hit *pz_hit_waiting(struct pz_session *s, pid_t tid)
{
	struct pz_hit *first = NULL;

	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (h->used && h->ready && h->head.tid == (uint32_t)tid &&
		    (!first || h->order < first->order))
			first = h;
	}
	return first;
}

/* A place for one more hit, NULL where there is none left. */
struct pz_hit *pz_hit_new(struct pz_session *s)
{
	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (!h->used) {
			*h = (struct pz_hit){.used = true, .order = ++s->hit_order};
			return h;
		}
	}
	return NULL;
}

void pz_hit_clear(struct pz_hit *h)
{
	h->used = false;
	h->ready = false;
	h->deferred = false;
	free(h->old);
	h->old = NULL;
}

void pz_hit_forget_deferral(struct pz_session *s, struct pz_hit *h)
{
	if (h->used && h->deferred && s->n_deferred_hits)
		s->n_deferred_hits--;
	h->deferred = false;
}

void pz_hit_clear_all(struct pz_session *s)
{
	for (int i = 0; i < PZ_MAX_HITS; i++)
		pz_hit_clear(&s->hit[i]);
	s->n_deferred_hits = 0;
}

/* The debugger has taken each stop signal of ours, where no hit waits any more. */
void pz_hit_none_left(struct pz_session *s)
{
	for (int i = 0; i < PZ_MAX_HITS; i++) {
		if (s->hit[i].used && s->hit[i].ready)
			return;
	}
	s->shared->stop_pending = 0;
}

/* Never a signal without a tracer: looked at immediately before. */
bool pz_may_stop(struct pz_session *s, pid_t tid)
{
	uint64_t tracer = 0;

	if (s->detaching || s->releasing || s->in_recovery || !s->owned)
		return false;
	return pz_proc_status_field(s->options.pid, tid, "TracerPid:", &tracer) == 0 && tracer;
}

static int send_stop(struct pz_session *s, const struct pz_hit *h)
{
	siginfo_t info = {0};

	if (!pz_may_stop(s, (pid_t)h->head.tid))
		return -ESRCH;
	info.si_signo = SIGSTOP;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)h->head.address; /* NOLINT: a number */
	if (syscall(SYS_rt_tgsigqueueinfo, s->options.pid, h->head.tid, SIGSTOP, &info) < 0)
		return -errno;
	s->shared->stop_pending = 1;
	s->count.signals++;
	return 0;
}

int pz_hit_signal(struct pz_session *s, struct pz_hit *h)
{
	int error = send_stop(s, h);

	if (error)
		return error;
	h->ready = true;
	s->count.hits++;
	return 0;
}

void pz_hit_record(struct pz_session *s, const struct pz_hit_head *h, enum pz_by by)
{
	struct pz_event e = {
		.time_us = h->time_us,
		.address = h->address,
		.pc = h->pc,
		.watch = h->watch,
		.pid = (uint32_t)s->options.pid,
		.tid = h->tid,
		.syscall = h->syscall,
		.access = h->flags & PZ_HIT_WRITE ? PZ_ACCESS_WRITE : PZ_ACCESS_READ,
		.by = (uint8_t)by,
	};

	s->count.hits++;
	pz_watch_count(s, h->watch);
	pz_trace_add(s, &e);
}

/* Did the call change the watched bytes? Looked at where no fault named one of them. */
static bool changed(struct pz_session *s, const struct pz_hit *h)
{
	uint64_t page = pz_page_down(h->content_address);
	struct pz_region *r = pz_region_find(s, page);

	if (!h->content_length || !h->old || !r || pz_content_read(s, r, page, s->page_buffer))
		return false;
	return memcmp(h->old, s->page_buffer + (h->content_address - page), h->content_length) != 0;
}

/* Nobody takes it: the page, open for a stop, is protected again. */
static void record_instead(struct pz_session *s, struct pz_hit *h)
{
	pz_hit_record(s, &h->head, PZ_BY_INFERIOR);
	pz_rearm_soon(s, pz_page_down(h->head.address), 0);
	pz_hit_clear(h);
}

/* The call has ended: true where its hit is one that the debugger is to take. */
static bool settle(struct pz_session *s, struct pz_hit *h)
{
	pz_hit_forget_deferral(s, h);
	h->ended = true;
	if (!h->exact && !changed(s, h)) {
		pz_pages_add(&s->rearm, pz_page_down(h->content_address));
		pz_hit_clear(h);
		return false;
	}
	if (!pz_may_stop(s, (pid_t)h->head.tid)) {
		record_instead(s, h);
		return false;
	}
	h->ready = true;
	return true;
}

/*
 * The threads stand. A debugger that stopped a thread by a SIGSTOP of its own takes ours for
 * it: who has a call to report is told again, before it makes the next.
 */
void pz_hits_signal_again(struct pz_session *s)
{
	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (h->used && h->deferred && pz_may_stop(s, (pid_t)h->head.tid))
			settle(s, h); /* it stands, so it has left the call */
		if (h->used && h->ready && (h->head.flags & PZ_HIT_KERNEL))
			send_stop(s, h);
	}
}

static void end_of_call(struct pz_session *s, struct pz_hit *h)
{
	pid_t tid = (pid_t)h->head.tid;

	settle(s, h);
	h = pz_hit_waiting(s, tid);
	if (h && pz_hit_signal(s, h))
		record_instead(s, h);
}

/*
 * The thread is at another access: the calls before it have ended, unless it is in the one
 * of this line. True where the debugger has such a call still to take. No signal here: it
 * would cut the call short that the thread is in now.
 */
bool pz_hit_earlier_calls(struct pz_session *s, pid_t tid, const char *line)
{
	bool waiting = false;

	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (!h->used || h->head.tid != (uint32_t)tid || !(h->head.flags & PZ_HIT_KERNEL) ||
		    (line && !strcmp(h->line, line)))
			continue;
		if ((h->deferred && settle(s, h)) || h->ready)
			waiting = true;
	}
	return waiting;
}

/* The debugger asks, so the thread stands: a call that it has left is one to take. */
void pz_hit_settle(struct pz_session *s, pid_t tid)
{
	char line[PZ_LINE];

	for (int i = 0; s->n_deferred_hits && i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (h->used && h->deferred && h->head.tid == (uint32_t)tid &&
		    pz_cache_read(&s->syscall_files, s->options.pid, tid, line, sizeof(line)) > 0 &&
		    strcmp(line, h->line) != 0)
			settle(s, h);
	}
}

/*
 * Looks at every thread whose system call is awaited. The looks come quickly after each
 * other while something happens, and seldom while the calls only last.
 */
void pz_hits_tick(struct pz_session *s)
{
	bool quiet = true;
	char line[PZ_LINE];

	for (int i = 0; s->n_deferred_hits && i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];
		ssize_t n;

		if (!h->used || !h->deferred)
			continue;
		n = pz_cache_read(&s->syscall_files, s->options.pid, (pid_t)h->head.tid, line,
				  sizeof(line));
		if (n <= 0) { /* the thread is gone, and with it what could stop */
			pz_hit_forget_deferral(s, h);
			if (h->exact || changed(s, h))
				record_instead(s, h);
			else
				pz_hit_clear(h);
		} else if (pz_line_running(line)) {
			quiet = false;
			if (++h->running >= RUNNING_LIMIT)
				end_of_call(s, h);
		} else if (!strcmp(line, h->line)) {
			h->running = 0;
		} else {
			if (pz_line_in_call(line))
				snprintf(h->next, sizeof(h->next), "%s", line);
			quiet = false;
			end_of_call(s, h);
		}
	}
	s->deferred_us = quiet ? pz_min(s->deferred_us * 2, AWAIT_MAX_US) : PZ_AWAIT_US;
}
