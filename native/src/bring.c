/* Bringing pages back: moved from the stash by the agent, or copied by the helper. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define PATIENCE      2000
#define LEFTOVER_RUNS 64

struct bringing {
	struct pz_session *s;
	struct pz_bring_result *result;
	bool show;
};

/* The entry of a page that is present again. */
static uint64_t back_value(const struct bringing *b, uint64_t e, bool leftover)
{
	uint64_t left = (leftover ? PZ_LEFTOVER : 0) | (e & PZ_LEFTOVER);

	if (!b->show)
		return PZ_NONE | left;
	if (pz_entry_state(e) == PZ_FILL)
		return PZ_STASH | PZ_FILLED | PZ_SHOWN | left;
	return pz_entry_state(e) | PZ_SHOWN | (e & PZ_FILLED) | left;
}

static void back(struct bringing *b, uint64_t *e, bool leftover)
{
	uint64_t old = *e;

	pz_entry_set(b->s, e, back_value(b, old, leftover));
	if (pz_entry_state(old) != PZ_STASH)
		pz_store_free(b->s, pz_entry_slot(old));
	b->result->refaulted++;
}

static int copy_back(struct bringing *b, struct pz_region *r, uint64_t a)
{
	struct pz_session *s = b->s;
	uint64_t *e = pz_entry(s, r, a);
	bool stash = pz_entry_state(*e) == PZ_STASH;
	bool protect = !b->show && !s->shown && !s->releasing && pz_watch_covers(s, a);
	int error = pz_content_read(s, r, a, s->main_buffer);

	if (error)
		return error;
	error = pz_uffd_copy(s->uffd, a, s->main_buffer, PZ_PAGE, protect, NULL);
	if (error == -EEXIST) {
		pz_uffd_wake(s->uffd, a, PZ_PAGE);
		error = 0;
	} else if (error == -ENOENT) {
		pz_entry_drop(s, e, PZ_NONE); /* no such memory any more */
		return 0;
	}
	if (!error)
		back(b, e, stash);
	return error;
}

/* Can go by MOVE: in the stash, and nothing to protect. */
static bool by_move(const struct bringing *b, uint64_t e, uint64_t a)
{
	struct pz_session *s = b->s;

	return s->move && pz_entry_kept(e) && pz_entry_state(e) == PZ_STASH &&
	       (b->show || s->releasing || s->shown || !pz_watch_covers(s, a));
}

static int move_back(struct bringing *b, struct pz_region *r, uint64_t a, uint64_t stop,
		     uint64_t *ret)
{
	struct pz_session *s = b->s;
	uint64_t moved = 0;
	int error = pz_agent_move(s, a, r->stash + (a - r->start), stop - a, &moved);

	for (uint64_t p = a; p < a + moved; p += PZ_PAGE) {
		uint64_t *e = pz_entry(s, r, p);

		pz_entry_set(s, e, *e & ~PZ_LEFTOVER);
		back(b, e, false);
	}
	*ret = a + moved;
	if (*ret < stop && error && error != -EAGAIN) {
		/* A marker, another protection, mlocked, a shared page, no agent: by copy. */
		error = copy_back(b, r, *ret);
		if (!error)
			*ret += PZ_PAGE;
	}
	return error;
}

/* One chunk, inside one region, lock held; *ret is where it ended. */
static int bring_chunk(struct bringing *b, struct pz_region *r, uint64_t start, uint64_t end,
		       uint64_t *ret)
{
	struct pz_session *s = b->s;
	uint64_t a = start;
	int error = 0;

	while (!error && a < end) {
		uint64_t e = *pz_entry(s, r, a), stop = a;

		while (stop < end && by_move(b, *pz_entry(s, r, stop), stop))
			stop += PZ_PAGE;
		if (stop > a) {
			error = move_back(b, r, a, stop, &a);
		} else if (pz_entry_kept(e)) {
			error = copy_back(b, r, a);
			if (!error)
				a += PZ_PAGE;
		} else {
			if (!b->show && (e & PZ_SHOWN))
				pz_entry_set(s, pz_entry(s, r, a), e & PZ_LEFTOVER);
			a += PZ_PAGE;
		}
	}
	*ret = a;
	return error;
}

int pz_bring(struct pz_session *s, uint64_t start, uint64_t end, bool show,
	     struct pz_bring_result *ret)
{
	struct bringing b = {.s = s, .result = ret, .show = show};
	unsigned int patience = PATIENCE;
	uint64_t at = start;
	int first = 0;

	while (at < end) {
		struct pz_region *r;
		uint64_t stop, next;
		int error;

		pz_main_pause(s);
		{
			PZ_LOCKED(s);
			r = pz_region_next(s, at);
			if (!r || r->start >= end)
				return first;
			at = pz_max(at, r->start);
			stop = pz_min(pz_min(r->end, end), at + PZ_CHUNK);
			if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING)) {
				at = pz_min(r->end, end);
				continue;
			}
			error = bring_chunk(&b, r, at, stop, &next);
			if (next > at)
				patience = PATIENCE;
			at = next;
		}
		if (error == -EAGAIN && patience--) {
			pz_sleep_us(100);
		} else if (error == -EAGAIN || error == -ESRCH) {
			return error;
		} else if (error) {
			/* One page must not keep the others away. */
			first = first ? first : error;
			at += PZ_PAGE;
		}
	}
	return first;
}

/* Recovery: a MOVE or a copy was cut short; what did not move has its page still. */
int pz_bring_moving(struct pz_session *s)
{
	PZ_LOCKED(s);
	pz_for_each_region (s, r) {
		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (uint64_t a = r->start; a < r->end; a += PZ_PAGE) {
			uint64_t *e = pz_entry(s, r, a), moved;
			uint64_t state[1];

			if (!(*e & PZ_MOVING))
				continue;
			if (pz_pagemap_read(s, a, 1, state) == 0 && pz_pagemap_populated(state[0]))
				pz_entry_drop(s, e, PZ_NONE);
			else if (pz_entry_state(*e) != PZ_STASH)
				pz_entry_set(s, e, *e & ~PZ_MOVING);
			else if (pz_agent_move(s, a, r->stash + (a - r->start), PZ_PAGE, &moved) ==
				 0)
				pz_entry_set(s, e, PZ_NONE);
			else
				pz_entry_set(s, e, *e & ~PZ_MOVING);
		}
	}
	return 0;
}

/* Gives back the stale copies that faults left in the stash. */
void pz_free_leftovers(struct pz_session *s)
{
	unsigned int runs = 0;
	uint64_t at = 0;

	while (runs < LEFTOVER_RUNS) {
		struct pz_region *r;
		uint64_t stop, a;

		PZ_LOCKED(s);
		r = pz_region_next(s, at);
		if (!r || !s->count.leftovers)
			return;
		at = pz_max(at, r->start);
		stop = r->stash ? pz_min(r->end, at + PZ_LOOK) : r->end;
		while (at < stop && r->stash && !(*pz_entry(s, r, at) & PZ_LEFTOVER))
			at += PZ_PAGE;
		for (a = at; a < stop && (*pz_entry(s, r, a) & PZ_LEFTOVER); a += PZ_PAGE) {
			uint64_t *e = pz_entry(s, r, a);

			pz_entry_set(s, e, *e & ~PZ_LEFTOVER);
		}
		if (a > at) {
			pz_agent_drop(s, r->stash + (at - r->start), a - at);
			runs++;
		}
		at = a > at ? a : stop;
	}
}
