/* Taking pages away: UFFDIO_MOVE into a reserved range of the same mm, by the agent. */
#include <sched.h>
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define CHUNK_PAGES	(PZ_CHUNK / PZ_PAGE)
#define PATIENCE	200
#define REMOVE_GRACE_US 2000
#define REMOVE_WAITS	4000 /* of half a millisecond: the program never ceases to zap */

struct keeping {
	struct pz_session *s;
	struct pz_keep_result *result;
	bool shown_only;
	unsigned int patience;
	uint64_t at; /* the first page not done */
	uint64_t end;
	uint64_t *pagemap;
};

/* The entry's page is to be taken: neither kept already nor left to be. */
bool pz_keep_wanted(uint64_t entry, uint64_t pagemap, bool shown_only)
{
	if (pz_entry_kept(entry) || !pz_pagemap_populated(pagemap))
		return false;
	return !shown_only || (entry & PZ_SHOWN);
}

static void skip(struct keeping *k, uint64_t *entry, int reason)
{
	k->result->skipped++;
	k->result->reason = reason;
	pz_entry_set(k->s, entry, *entry & PZ_LEFTOVER);
}

static uint64_t taken_value(uint64_t entry)
{
	bool filled =
		(entry & PZ_SHOWN) && ((entry & PZ_FILLED) || pz_entry_state(entry) == PZ_FILL);

	return PZ_STASH | (filled ? PZ_FILLED : 0);
}

/* Settles the entries of [start, end): content is in the stash now, or has stayed. */
static void settle(struct keeping *k, struct pz_region *r, uint64_t start, uint64_t end, bool taken)
{
	for (uint64_t a = start; a < end; a += PZ_PAGE) {
		uint64_t *e = pz_entry(k->s, r, a);

		if (!(*e & PZ_MOVING))
			continue;
		if (taken) {
			pz_entry_set(k->s, e, *e & ~PZ_MOVING);
			k->result->kept++;
		} else if (k->shown_only) {
			pz_entry_set(k->s, e, PZ_STASH | PZ_SHOWN | (*e & PZ_FILLED));
		} else {
			pz_entry_set(k->s, e, PZ_NONE);
		}
	}
}

static bool gone(struct pz_session *s, uint64_t a)
{
	uint64_t state;

	return pz_pagemap_read(s, a, 1, &state) == 0 && !pz_pagemap_populated(state);
}

/* The agent was killed amid a MOVE, which has not said how far it came. */
static void settle_found(struct keeping *k, struct pz_region *r, uint64_t start, uint64_t end)
{
	for (uint64_t a = start; a < end; a += PZ_PAGE)
		settle(k, r, a, a + PZ_PAGE, gone(k->s, a));
}

/* A stale copy in the stash is in the way. Unregistered, so that no event is raised. */
static void clean_stash(struct pz_session *s, struct pz_region *r, uint64_t a, uint64_t length)
{
	uint64_t stash = r->stash + (a - r->start);

	if (pz_agent_drop(s, stash, length))
		return; /* its copies are in the way still, and said to be */
	for (uint64_t p = a; p < a + length; p += PZ_PAGE) {
		uint64_t *e = pz_entry(s, r, p);

		if (*e & PZ_LEFTOVER)
			pz_entry_set(s, e, *e & ~PZ_LEFTOVER);
	}
}

/*
 * Moves the run [start, end), all of whose entries are wanted or empty. The
 * entries say MOVING before and are exact after. Lock held; the agent's MOVE
 * raises no event. Answers -EAGAIN where the lock has to be given up first.
 */
static int move_run(struct keeping *k, struct pz_region *r, uint64_t start, uint64_t end)
{
	struct pz_session *s = k->s;
	uint64_t at = start;

	while (at < end) {
		uint64_t moved = 0;
		int error = pz_agent_move(s, r->stash + (at - r->start), at, end - at, &moved);
		uint64_t *e;

		settle(k, r, at, at + moved, true);
		at += moved;
		if (!error || at >= end)
			continue;
		e = pz_entry(s, r, at);
		if (error == -EEXIST && (*e & PZ_MOVING) && gone(s, at)) {
			/* Moved already: the kernel tried again and did not count it. */
			settle(k, r, at, at + PZ_PAGE, true);
			at += PZ_PAGE;
			continue;
		}
		if (error == -EEXIST && (*e & PZ_MOVING)) {
			/* Somebody has read the stash and left zero pages: cleaned at the next
			 * try, all at once. */
			settle(k, r, at, end, false);
			for (uint64_t a = at; a < end; a += PZ_PAGE) {
				e = pz_entry(s, r, a);
				if (!pz_entry_kept(*e))
					pz_entry_set(s, e, *e | PZ_LEFTOVER);
			}
			k->at = at;
			return -EAGAIN;
		}
		if (error == -ESRCH) {
			settle_found(k, r, at, end);
			k->at = at;
			return error;
		}
		/* EBADF, ENOTTY: the program has closed our descriptor. */
		if (error == -EAGAIN || error == -EINVAL || error == -ENODEV || error == -ENOTTY ||
		    error == -EBADF) {
			settle(k, r, at, end, false);
			k->at = at;
			return error;
		}
		if (error == -EFAULT && !(*e & PZ_MOVING)) {
			/* A marker on an empty page: without it the page is as empty. */
			pz_uffd_protect(s->uffd, at, PZ_PAGE, false, false);
		} else if (*e & PZ_MOVING) {
			skip(k, e, error);
		}
		at += PZ_PAGE;
	}
	return 0;
}

static void mark_run(struct keeping *k, struct pz_region *r, uint64_t start, uint64_t end,
		     uint64_t base)
{
	for (uint64_t a = start; a < end; a += PZ_PAGE) {
		uint64_t *e = pz_entry(k->s, r, a);

		if (pz_keep_wanted(*e, k->pagemap[(a - base) / PZ_PAGE], k->shown_only))
			pz_entry_set(k->s, e, taken_value(*e) | PZ_MOVING);
	}
}

/* Can be part of a MOVE: wanted, or empty on both sides. */
static bool movable(const struct keeping *k, uint64_t entry, uint64_t pagemap)
{
	if (pz_keep_wanted(entry, pagemap, k->shown_only))
		return true;
	return !pz_pagemap_populated(pagemap) && !pz_entry_kept(entry);
}

/* One chunk, inside one region, lock held. */
static int keep_chunk(struct keeping *k, struct pz_region *r, uint64_t start, uint64_t end)
{
	struct pz_session *s = k->s;
	int error = pz_pagemap_read(s, start, (end - start) / PZ_PAGE, k->pagemap);

	if (error)
		return error;
	for (uint64_t a = start; a < end; a += PZ_PAGE) {
		if (*pz_entry(s, r, a) & PZ_LEFTOVER) {
			uint64_t stop = a + PZ_PAGE;

			while (stop < end && (*pz_entry(s, r, stop) & PZ_LEFTOVER))
				stop += PZ_PAGE;
			clean_stash(s, r, a, stop - a);
		}
	}
	error = pz_uffd_register(s->uffd, r->stash + (start - r->start), end - start,
				 UFFDIO_REGISTER_MODE_MISSING);
	for (uint64_t a = start; !error && a < end;) {
		uint64_t stop = a, last = a;

		while (stop < end &&
		       movable(k, *pz_entry(s, r, stop), k->pagemap[(stop - start) / PZ_PAGE])) {
			if (pz_pagemap_populated(k->pagemap[(stop - start) / PZ_PAGE]))
				last = stop + PZ_PAGE;
			stop += PZ_PAGE;
		}
		if (last > a) {
			mark_run(k, r, a, last, start);
			error = move_run(k, r, a, last);
		}
		a = stop > a ? stop : a + PZ_PAGE;
	}
	pz_uffd_unregister(s->uffd, r->stash + (start - r->start), end - start);
	return error;
}

/* Every piece of the table gets its place in the stash. Lock held: a map raises no event. */
static int region_stash(struct pz_session *s, struct pz_region *r, int prot)
{
	if (r->stash)
		return 0;
	return pz_agent_map(s, r->end - r->start, prot, &r->stash);
}

/*
 * The zap that an event announced comes first: a page taken before it would come back with the
 * content that the program has given up.
 */
int pz_wait_for_removes(struct pz_session *s)
{
	for (int i = 0; pz_now_us() - s->last_remove_us < REMOVE_GRACE_US; i++) {
		if (i == REMOVE_WAITS)
			return -EAGAIN;
		pz_sleep_us(500);
	}
	return 0;
}

static int keep_vma(void *context, const struct pz_vma *v)
{
	struct keeping *k = context;
	struct pz_session *s = k->s;
	bool by_move = s->move && (v->prot & PROT_WRITE);

	k->at = v->start;
	k->patience = PATIENCE;
	while (by_move && k->at < v->end) {
		struct pz_region *r;
		uint64_t end;
		int error;

		error = pz_wait_for_removes(s);
		if (error)
			return error;
		pz_main_pause(s);
		PZ_LOCKED(s);
		r = pz_region_find(s, k->at);
		if (!r) { /* unmapped meanwhile */
			k->at += PZ_PAGE;
			continue;
		}
		end = pz_min(pz_min(v->end, r->end), k->at + PZ_CHUNK);
		error = region_stash(s, r, v->prot);
		if (!error)
			error = keep_chunk(k, r, k->at, end);
		if (!error) {
			k->at = end;
			k->patience = PATIENCE;
		} else if (error == -EAGAIN && k->patience--) {
			s->last_remove_us = pz_now_us() - REMOVE_GRACE_US + 200;
		} else if (error == -EAGAIN) {
			uint64_t *e = pz_entry(s, r, k->at);

			if (!pz_entry_kept(*e))
				skip(k, e, error);
			k->at += PZ_PAGE;
			k->patience = PATIENCE;
		} else if (error == -ESRCH) {
			return error;
		} else {
			by_move = false; /* mlocked, other protection: by copy */
		}
	}
	if (k->at < v->end)
		return pz_keep_by_copy(s, k->at, v->end, k->shown_only, k->result);
	return 0;
}

/* Registers what is to be kept or filled. */
int pz_cover_kept(void *context, const struct pz_vma *v)
{
	struct pz_session *s = context;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | (s->wp ? UFFDIO_REGISTER_MODE_WP : 0);

	PZ_LOCKED(s);
	return pz_region_cover(s, v->start, v->end, modes);
}

static void count_result(struct pz_session *s, uint64_t start, uint64_t end,
			 struct pz_keep_result *result)
{
	uint64_t kept = 0;

	for (uint64_t at = start; at < end;) {
		struct pz_region *r;
		uint64_t stop;

		pz_main_pause(s);
		PZ_LOCKED(s);
		r = pz_region_next(s, at);
		if (!r || r->start >= end)
			break;
		at = pz_max(at, r->start);
		stop = pz_min(pz_min(r->end, end), at + PZ_LOOK);
		for (; at < stop; at += PZ_PAGE)
			kept += pz_entry_kept(*pz_entry(s, r, at));
	}
	result->pages = (end - start) / PZ_PAGE;
	result->unpopulated = result->pages - pz_min(result->pages, result->skipped + kept);
	/* What came back while we worked was kept for a moment, and counts as kept. */
	if (kept < result->kept)
		result->unpopulated -= pz_min(result->unpopulated, result->kept - kept);
	result->kept = pz_max(kept, result->kept);
}

int pz_keep(struct pz_session *s, uint64_t start, uint64_t length, bool shown_only,
	    struct pz_keep_result *ret)
{
	pz_autofree uint64_t *pagemap = malloc(CHUNK_PAGES * sizeof(uint64_t));
	struct keeping k = {.s = s, .result = ret, .shown_only = shown_only, .pagemap = pagemap};
	int error;

	*ret = (struct pz_keep_result){0};
	if (!pagemap)
		return -ENOMEM;
	if (!shown_only) {
		error = pz_maps_check_anonymous(s, start, start + length);
		if (error)
			return error;
		error = pz_maps_visit(s->options.pid, start, start + length, pz_cover_kept, s);
		if (error)
			return error;
	}
	error = pz_maps_visit(s->options.pid, start, start + length, keep_vma, &k);
	if (error == -ENOMEM)
		error = 0; /* unmapped meanwhile */
	if (!shown_only)
		count_result(s, start, start + length, ret);
	return error;
}
