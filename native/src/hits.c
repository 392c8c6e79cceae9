/* Stops of the inferior's threads, and system calls whose end is awaited. Lock held. */
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

#define RUNNING_LIMIT 3

struct pz_hit *pz_hit_of(struct pz_session *s, pid_t tid, bool create)
{
	struct pz_hit *unused = NULL;

	for (int i = 0; i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];

		if (h->used && h->head.tid == (uint32_t)tid)
			return h;
		if (!h->used && !unused)
			unused = h;
	}
	return create ? unused : NULL;
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

/* The last field of a line of /proc/PID/task/TID/syscall. */
void pz_hit_line_pc(const char *line, uint64_t *ret)
{
	const char *last = strrchr(line, ' ');

	*ret = last ? strtoull(last + 1, NULL, 16) : 0;
}

/* Never a signal without a tracer: looked at immediately before. */
bool pz_may_stop(struct pz_session *s, pid_t tid)
{
	uint64_t tracer = 0;

	if (s->detaching || s->releasing || s->in_recovery || !s->owned)
		return false;
	return pz_proc_status_field(s->options.pid, tid, "TracerPid:", &tracer) == 0 && tracer;
}

int pz_hit_signal(struct pz_session *s, struct pz_hit *h)
{
	siginfo_t info = {0};

	info.si_signo = SIGSTOP;
	info.si_code = SI_QUEUE;
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)(uintptr_t)h->head.address; /* NOLINT: a number */
	if (syscall(SYS_rt_tgsigqueueinfo, s->options.pid, h->head.tid, SIGSTOP, &info) < 0)
		return -errno;
	h->ready = true;
	s->stop_pending = true;
	s->count.signals++;
	s->count.hits++;
	return 0;
}

void pz_hit_record(struct pz_session *s, const struct pz_hit_head *h, enum pz_by by, bool stopped)
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
		.stopped = stopped,
	};

	s->count.hits++;
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

static void end_of_call(struct pz_session *s, struct pz_hit *h)
{
	pz_hit_forget_deferral(s, h);
	if (!h->exact && !changed(s, h)) {
		pz_pages_add(&s->rearm, pz_page_down(h->content_address));
		pz_hit_clear(h);
		return;
	}
	if (!pz_may_stop(s, (pid_t)h->head.tid) || pz_hit_signal(s, h)) {
		pz_hit_record(s, &h->head, PZ_BY_INFERIOR, false);
		pz_hit_clear(h);
	}
}

/* Looks at every thread whose system call is awaited. */
void pz_hits_tick(struct pz_session *s)
{
	char line[PZ_LINE];

	for (int i = 0; s->n_deferred_hits && i < PZ_MAX_HITS; i++) {
		struct pz_hit *h = &s->hit[i];
		ssize_t n;

		if (!h->used || !h->deferred)
			continue;
		n = pz_cache_read(&s->syscall_files, s->options.pid, (pid_t)h->head.tid, line,
				  sizeof(line));
		if (n <= 0) {
			pz_hit_forget_deferral(s, h);
			pz_hit_clear(h);
		} else if (!strncmp(line, "running", 7)) {
			if (++h->running >= RUNNING_LIMIT)
				end_of_call(s, h);
		} else if (!strcmp(line, h->line)) {
			h->running = 0;
		} else {
			end_of_call(s, h);
		}
	}
}
