/*
 * Pages that are open for a while because of an access, and their protection again. Each
 * stays open for one interval at least, and until the thread that was woken for it has run:
 * one that gets no CPU would find it protected again, and fault on it for ever.
 */
#include "pagezap/pagezap.h"

#define LONGEST_US  100000 /* that a page waits for its thread */
#define FAULTS_MADE 32	   /* later ones tell that it was made: no access touches so many pages */

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

bool pz_rearm_waits(const struct pz_session *s)
{
	return s->open.count || s->open.overflow || s->rearm.count || s->rearm.overflow;
}

static struct pz_thread *thread_of(struct pz_open *o, pid_t tid)
{
	for (unsigned int i = 0; i < o->n_threads; i++) {
		if (o->thread[i].tid == tid)
			return &o->thread[i];
	}
	if (o->n_threads == PZ_MAX_WOKEN)
		return NULL;
	o->thread[o->n_threads] = (struct pz_thread){.tid = tid};
	return &o->thread[o->n_threads++];
}

/*
 * Has a page protected again by the main thread, which is woken where it has no timer yet.
 * `tid` is the thread that is to make its access first, or 0.
 */
void pz_rearm_soon(struct pz_session *s, uint64_t page, pid_t tid)
{
	struct pz_open *o = &s->open;
	struct pz_thread *t = tid ? thread_of(o, tid) : NULL;
	bool waits = pz_rearm_waits(s);

	if (o->count == PZ_MAX_OPENED)
		o->overflow = true;
	else
		o->page[o->count++] = (struct pz_open_page){
			.page = page, .tid = tid, .fault = t ? ++t->faults : 0};
	if (!waits)
		pz_kick(s);
}

/* The entry of a page that is open for this thread's access, NULL where there is none. */
struct pz_open_page *pz_open_for(struct pz_session *s, uint64_t page, pid_t tid)
{
	for (unsigned int i = 0; i < s->open.count; i++) {
		if (s->open.page[i].page == page && s->open.page[i].tid == tid)
			return &s->open.page[i];
	}
	return NULL;
}

static uint64_t ran_ns(struct pz_session *s, pid_t tid)
{
	return pz_cache_sched(&s->run_files, s->options.pid, tid).ran_ns;
}

/* It sleeps, elsewhere by now, or is gone. */
static bool sleeps(struct pz_session *s, pid_t tid)
{
	char line[PZ_LINE];

	return pz_cache_read(&s->syscall_files, s->options.pid, tid, line, sizeof(line)) <= 0 ||
	       !pz_line_running(line);
}

/* Has the page's thread made its access? */
static bool made(struct pz_session *s, const struct pz_open_page *p, uint64_t now)
{
	struct pz_thread *t = p->tid ? thread_of(&s->open, p->tid) : NULL;

	if (!t || !p->fault || t->faults - p->fault >= FAULTS_MADE)
		return true;
	if (!t->sampled) {
		t->sampled = true;
		t->run_ns = sleeps(s, p->tid) ? 0 : ran_ns(s, p->tid);
	}
	return !t->run_ns || t->run_ns != p->run_ns || now - p->since_us > LONGEST_US;
}

/* Once an interval. Main thread, lock held. */
void pz_rearm_tick(struct pz_session *s)
{
	struct pz_open *o = &s->open;
	uint64_t now = pz_now_us();
	unsigned int left = 0;

	for (unsigned int i = 0; i < o->n_threads; i++)
		o->thread[i].sampled = false;
	for (unsigned int i = 0; i < o->count; i++) {
		struct pz_open_page p = o->page[i];

		if (p.since_us && made(s, &p, now)) {
			pz_pages_add(&s->rearm, p.page);
			continue;
		}
		if (!p.since_us) {
			p.since_us = now;
			p.run_ns = p.tid ? ran_ns(s, p.tid) : 0;
		}
		o->page[left++] = p;
	}
	o->count = left;
	if (o->overflow)
		s->rearm.overflow = true;
	o->overflow = false;
	if (!left)
		o->n_threads = 0;
	pz_rearm(s, &s->rearm);
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
