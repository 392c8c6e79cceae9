/*
 * Pages that are open for a while because of an access, and their protection again. Each
 * stays open for one interval at least, and until every thread that was woken for it has
 * run: one that gets no CPU would find it protected again, and fault on it for ever.
 */
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

void pz_pages_add(struct pz_pages *p, uint64_t page)
{
	for (unsigned int i = 0; i < p->count && i < 16; i++) {
		if (p->page[p->count - 1 - i] == page)
			return;
	}
	if (p->count == PZ_MAX_OPENED)
		p->overflow = true;
	else
		p->page[p->count++] = page;
}

static bool any(const struct pz_pages *p)
{
	return p->count || p->overflow;
}

bool pz_rearm_waits(const struct pz_session *s)
{
	return any(&s->rearm) || any(&s->rearm_next);
}

static void woken(struct pz_threads *t, pid_t tid)
{
	for (unsigned int i = 0; i < t->count; i++) {
		if (t->thread[i].tid == tid)
			return;
	}
	if (t->count < PZ_MAX_WOKEN)
		t->thread[t->count++].tid = tid;
}

/*
 * Has a page protected again by the main thread, which is woken where it has no timer yet.
 * `tid` is the thread that is to make its access first, or 0.
 */
void pz_rearm_soon(struct pz_session *s, uint64_t page, pid_t tid)
{
	bool waits = pz_rearm_waits(s);

	pz_pages_add(&s->rearm, page);
	if (tid)
		woken(&s->woken, tid);
	if (!waits)
		pz_kick(s);
}

/* Nanoseconds on a CPU, the first field of schedstat; of a running thread up to the last tick. */
static uint64_t run_ns(struct pz_session *s, pid_t tid)
{
	char text[96];

	if (pz_cache_read(&s->run_files, s->options.pid, tid, text, sizeof(text)) <= 0)
		return 0;
	return strtoull(text, NULL, 10);
}

/* Since it was noted; or it sleeps, elsewhere by now, or is gone. */
static bool has_run(struct pz_session *s, const struct pz_thread *t)
{
	char line[PZ_LINE];

	return pz_cache_read(&s->syscall_files, s->options.pid, t->tid, line, sizeof(line)) <= 0 ||
	       strncmp(line, "running", 7) != 0 || run_ns(s, t->tid) != t->run_ns;
}

static bool all_have_run(struct pz_session *s)
{
	struct pz_threads *t = &s->awaited;

	while (t->count && has_run(s, &t->thread[t->count - 1]))
		t->count--;
	return !t->count;
}

/* What is open from now on waits in `rearm_next`, its threads in `awaited`. */
static void next_interval(struct pz_session *s)
{
	for (unsigned int i = 0; i < s->rearm.count; i++)
		pz_pages_add(&s->rearm_next, s->rearm.page[i]);
	s->rearm_next.overflow = s->rearm_next.overflow || s->rearm.overflow;
	s->rearm.count = 0;
	s->rearm.overflow = false;
	s->awaited = s->woken;
	s->woken.count = 0;
	for (unsigned int i = 0; i < s->awaited.count; i++)
		s->awaited.thread[i].run_ns = run_ns(s, s->awaited.thread[i].tid);
}

/* Once an interval. Main thread, lock held. */
void pz_rearm_tick(struct pz_session *s)
{
	if (!all_have_run(s))
		return;
	pz_rearm(s, &s->rearm_next);
	next_interval(s);
}

/*
 * Protects again what was opened. Lock held, but given up while a mapping changes: what is
 * opened meanwhile comes into the emptied set, for the next time, and so does what could
 * not be protected.
 */
void pz_rearm(struct pz_session *s, struct pz_pages *p)
{
	struct pz_pages set = *p;

	p->count = 0;
	p->overflow = false;
	if (set.overflow) {
		if (pz_protect_all(s, true))
			p->overflow = true;
		return;
	}
	/* Pages in a row by one call: each costs every processor a flush. */
	for (unsigned int i = 0, n; i < set.count; i += n) {
		uint64_t start = set.page[i];

		n = 1;
		if (!pz_watch_covers(s, start))
			continue;
		while (i + n < set.count && set.page[i + n] == start + n * PZ_PAGE &&
		       pz_watch_covers(s, set.page[i + n]))
			n++;
		if (!pz_protect_range(s, start, start + n * PZ_PAGE, true))
			continue;
		for (unsigned int k = 0; k < n; k++)
			pz_pages_add(p, start + k * PZ_PAGE);
	}
}
