/*
 * Dropping pages of the inferior's mm, by the agent: such as are copied already, and as advised.
 */
#include <string.h>

#include "pagezap/pagezap.h"

static void own_zap(struct pz_session *s, uint64_t start, uint64_t length, enum pz_state state)
{
	s->shared->own_zap = (struct pz_span){start, length};
	s->shared->own_zap_state = state;
}

/*
 * The agent sleeps behind the event that its call raises, and not for the lock of the mm. Where
 * the kernel does not name the function, that it sleeps in its call has to do.
 */
static bool agent_waits(struct pz_session *s)
{
	char line[PZ_LINE];

	if (pz_cache_read(&s->syscall_files, s->agent, s->agent, line, sizeof(line)) <= 0 ||
	    atoi(line) != SYS_madvise)
		return false;
	return pz_proc_wchan(s->agent, line, sizeof(line)) <= 0 || !strcmp(line, "0") ||
	       strstr(line, "userfault");
}

/*
 * Reads on the agent's behalf the event that its call waits behind, and no other once that is
 * read: what the program does to its mappings then waits for its event until our call is done.
 * Lock held, by the main thread.
 */
static void take_events(struct pz_session *s)
{
	uint64_t left = s->shared->own_zap.length;
	struct uffd_msg *m;

	if (!agent_waits(s))
		return;
	while (s->shared->own_zap.length == left && (m = pz_message_read(s))) {
		/* A fault of the inferior's is made again as soon as this is done: served in
		 * between it would be read before our event each time. */
		if (m->event == UFFD_EVENT_PAGEFAULT)
			pz_fault_again(s, pz_page_down(m->arg.pagefault.address));
		else
			pz_event_handle(s, m);
	}
}

/* Undoes a protection of ours and leaves that of the watches. Lock held, given up for a while. */
void pz_unprotect_ours(struct pz_session *s, uint64_t start, uint64_t end)
{
	while (pz_uffd_protect(s->uffd, start, end - start, false, true) == -EAGAIN)
		pz_lock_give_up(s, 100);
	pz_uffd_wake(s->uffd, start, end - start);
	for (uint64_t a = start; a < end && !s->shown && !s->releasing; a += PZ_PAGE) {
		if (pz_watch_covers(s, a))
			pz_protect_page(s, a, true);
	}
}

static struct pz_region *region_of_entry(struct pz_session *s, uint64_t entry)
{
	pz_for_each_region (s, r) {
		if (r->entry <= entry && entry < r->entry + (r->end - r->start) / PZ_PAGE)
			return r;
	}
	return NULL;
}

/* Whether a page is there still: then what the ledger holds of it counts for nothing. */
static bool settle_page(struct pz_session *s, struct pz_region *r, uint64_t address)
{
	uint64_t *e = pz_entry(s, r, address), state;

	if (!(*e & PZ_MOVING))
		return false; /* dropped by the program meanwhile */
	if (pz_pagemap_read(s, address, 1, &state) == 0 && pz_pagemap_populated(state)) {
		pz_entry_drop(s, e, PZ_NONE);
		return true;
	}
	pz_entry_set(s, e, *e & ~PZ_MOVING);
	return false;
}

/*
 * Drops the pages of [start, end), in one region, whose content the ledger holds as MOVING, and
 * settles their entries. Main thread, lock held: no event of the program's is taken that our call
 * does not wait behind, and so the address means what it meant when the content was read. What
 * was moved elsewhere amid the call has kept its pages, and its entries are found there.
 *
 * ret_left: pages that are there still.
 */
int pz_zap_held(struct pz_session *s, const struct pz_region *region, uint64_t start, uint64_t end,
		uint64_t *ret_left)
{
	uint64_t first = region->entry + (start - region->start) / PZ_PAGE;
	uint64_t last = first + (end - start) / PZ_PAGE;
	int error;

	own_zap(s, start, end - start, PZ_STORE);
	error = pz_agent_drop_while(s, start, end - start, take_events);
	own_zap(s, 0, 0, PZ_NONE);
	*ret_left = 0;
	for (uint64_t i = first; i < last;) {
		struct pz_region *r = region_of_entry(s, i);
		uint64_t at, stop;

		if (!r) {
			i++; /* unmapped */
			continue;
		}
		at = r->start + (i - r->entry) * PZ_PAGE;
		stop = pz_min(r->end, at + (last - i) * PZ_PAGE);
		i += (stop - at) / PZ_PAGE;
		for (uint64_t a = at; a < stop; a += PZ_PAGE)
			*ret_left += settle_page(s, r, a);
		/* Everybody who waited tries again, and finds the page missing. */
		pz_unprotect_ours(s, at, stop);
	}
	pz_put_off_soon(s);
	return error;
}

/* The program may do as much itself at any time: its event is the fault thread's to read. */
int pz_advise(struct pz_session *s, uint64_t start, uint64_t length, int advice, int64_t *ret)
{
	{
		PZ_LOCKED(s);
		if (pz_region_ours(s, start, start + length))
			return -EINVAL;
		own_zap(s, start, length, PZ_ZAPPED);
	}
	*ret = pz_agent_syscall(s, SYS_madvise, start, length, (uint64_t)advice);
	PZ_LOCKED(s);
	own_zap(s, 0, 0, PZ_NONE);
	return 0;
}
