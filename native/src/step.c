/* What the debugger asks at a stop: everything shown, one step let through, all away again. */
#include <string.h>

#include "pagezap/pagezap.h"

/*
 * A debugger that reads an empty page of a registered range gets an error, and not the
 * zeros that the program would. Nothing is away and nobody runs: nothing is registered.
 */
static void unregister(struct pz_session *s)
{
	pz_for_each_region (s, r)
		pz_uffd_unregister(s->uffd, r->start, r->end - r->start);
	s->unregistered = true;
}

static void register_again(struct pz_session *s)
{
	uint64_t at = 0;
	struct pz_region *r;

	if (!s->unregistered)
		return;
	s->unregistered = false;
	while ((r = pz_region_next(s, at))) {
		at = r->end;
		/* Unmapped meanwhile, without an event; its pages were all there. */
		if (pz_uffd_register(s->uffd, r->start, r->end - r->start, r->modes))
			pz_region_remove(s, r->start, r->end);
	}
}

/* A thread that stood before an access has made it amid the call; what it made by a system call
 * before is still to be told of. */
static void end_calling(struct pz_session *s)
{
	for (int i = 0; s->calling && i < PZ_MAX_HITS; i++) {
		if (s->hit[i].used && !(s->hit[i].head.flags & PZ_HIT_KERNEL))
			pz_hit_clear(&s->hit[i]);
	}
	s->calling = false;
}

int pz_show(struct pz_session *s)
{
	struct pz_bring_result result = {0};
	int error = 0;
	bool kept;

	{
		PZ_LOCKED(s);
		end_calling(s);
		if (s->shown && s->unregistered)
			return 0;
		kept = s->count.kept[PZ_STASH] || s->count.kept[PZ_STORE] || s->count.kept[PZ_FILL];
		kept = kept && !s->shown;
		s->shown = true;
		pz_protect_all(s, false);
	}
	if (kept)
		error = pz_bring(s, 0, ~0ull & PZ_PAGE_MASK, true, &result);
	PZ_LOCKED(s);
	if (!error)
		unregister(s);
	return error;
}

/* The debugger has the inferior call a function: what that does to its mappings is seen. */
int pz_show_calling(struct pz_session *s)
{
	PZ_LOCKED(s);
	if (!s->shown)
		return -EINVAL;
	register_again(s);
	s->calling = true;
	return 0;
}

static int hide_region(struct pz_session *s, uint64_t start, uint64_t end, uint64_t *taken,
		       uint64_t *lost)
{
	struct pz_keep_result result = {0};
	int error = pz_keep(s, start, end - start, true, &result);

	*taken += result.kept;
	*lost += result.skipped;
	return error;
}

/* Takes away again the pages marked SHOWN, run by run. */
static void hide_shown(struct pz_session *s, uint64_t *ret_taken, uint64_t *ret_lost)
{
	uint64_t at = 0;

	for (;;) {
		uint64_t start = 0, end = 0, stop;

		{
			PZ_LOCKED(s);
			struct pz_region *r = pz_region_next(s, at);

			if (!r || !s->count.shown)
				return;
			at = pz_max(at, r->start);
			stop = r->end;
			if (r->modes & UFFDIO_REGISTER_MODE_MISSING) {
				stop = pz_min(stop, at + PZ_LOOK);
				while (at < stop && !(*pz_entry(s, r, at) & PZ_SHOWN))
					at += PZ_PAGE;
				start = at;
				for (uint64_t a = at; a < stop; a += PZ_PAGE) {
					if (*pz_entry(s, r, a) & PZ_SHOWN)
						end = a + PZ_PAGE;
				}
			}
			at = stop;
		}
		if (end <= start)
			continue;
		hide_region(s, start, end, ret_taken, ret_lost);
		PZ_LOCKED(s);
		for (uint64_t a = start; a < end; a += PZ_PAGE) {
			struct pz_region *r = pz_region_find(s, a);
			uint64_t *e = r ? pz_entry(s, r, a) : NULL;

			if (e && (*e & PZ_SHOWN)) {
				++*ret_lost;
				pz_entry_set(s, e, *e & PZ_LEFTOVER);
			}
		}
	}
}

int pz_hide(struct pz_session *s, uint64_t *ret_taken, uint64_t *ret_lost)
{
	*ret_taken = 0;
	*ret_lost = 0;
	{
		PZ_LOCKED(s);
		end_calling(s);
		if (s->shown) {
			register_again(s);
			s->shown = false;
			s->opened.overflow = true; /* all of them */
		}
		pz_rearm(s, &s->opened);
		if (!s->count.shown)
			return 0;
	}
	hide_shown(s, ret_taken, ret_lost);
	return 0;
}

int pz_step_begin(struct pz_session *s, pid_t tid, uint64_t address)
{
	uint64_t page = pz_page_down(address);
	struct pz_bring_result result = {0};
	struct pz_region *r;
	bool missing;

	{
		PZ_LOCKED(s);
		s->stepping_tid = tid;
		s->n_step_pages = 0;
		if (s->shown)
			return 0;
		r = pz_region_find(s, page);
		if (!r)
			return 0; /* no page of ours: it needs nothing */
		s->step_page[s->n_step_pages++] = page;
		pz_protect_page(s, page, false);
		missing = r->modes & UFFDIO_REGISTER_MODE_MISSING;
		if (missing && !pz_entry_kept(*pz_entry(s, r, page))) {
			uint64_t state;

			/* Empty: filled now, so that the step does not fault. */
			if (pz_pagemap_read(s, page, 1, &state) == 0 &&
			    !pz_pagemap_populated(state))
				pz_serve_missing(s, page, false, true);
			return 0;
		}
	}
	return missing ? pz_bring(s, page, page + PZ_PAGE, true, &result) : 0;
}

/* Closes the pages of the step. */
int pz_step_end(struct pz_session *s)
{
	struct pz_keep_result result;
	bool shown;

	{
		PZ_LOCKED(s);
		s->stepping_tid = 0;
		shown = s->shown;
		for (unsigned int i = 0; !shown && i < s->n_step_pages; i++) {
			if (pz_watch_covers(s, s->step_page[i]))
				pz_protect_page(s, s->step_page[i], true);
		}
	}
	for (unsigned int i = 0; !shown && i < s->n_step_pages; i++) {
		struct pz_region *r;
		bool marked;

		{
			PZ_LOCKED(s);
			r = pz_region_find(s, s->step_page[i]);
			marked = r && (r->modes & UFFDIO_REGISTER_MODE_MISSING) &&
				 (*pz_entry(s, r, s->step_page[i]) & PZ_SHOWN);
		}
		if (marked)
			pz_keep(s, s->step_page[i], PZ_PAGE, true, &result);
	}
	s->n_step_pages = 0;
	return 0;
}
