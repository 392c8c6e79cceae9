/*
 * Taking pages away where they cannot be moved: write-protect, copy into the store, ledger, zap,
 * un-protect, all under the lock. A writer waits in its fault meanwhile.
 */
#include "pagezap/pagezap.h"

#define BATCH_PAGES 64
#define PATIENCE    2000 /* while a mapping changes */

static int store_page(struct pz_session *s, uint64_t *entry, uint64_t address)
{
	bool filled = *entry & PZ_FILLED || pz_entry_state(*entry) == PZ_FILL;
	uint64_t slot;
	int error = 0;

	if (pread(s->mem_fd, s->main_buffer, PZ_PAGE, (off_t)address) != (ssize_t)PZ_PAGE)
		return -EIO;
	error = pz_store_put(s, s->main_buffer, &slot);
	if (error)
		return error;
	pz_entry_set(s, entry,
		     PZ_STORE | PZ_MOVING | (*entry & PZ_LEFTOVER) | (filled ? PZ_FILLED : 0) |
			     slot << PZ_SLOT_SHIFT);
	return 0;
}

/*
 * Copies a run of wanted pages; the ledger holds them as MOVING. Answers where it ended: at the
 * first that cannot be copied, with its error.
 */
static uint64_t copy_run(struct pz_session *s, struct pz_region *r, uint64_t start, uint64_t end,
			 int *ret_error)
{
	uint64_t a = start;

	*ret_error = 0;
	while (a < end) {
		*ret_error = store_page(s, pz_entry(s, r, a), a);
		if (*ret_error)
			break;
		a += PZ_PAGE;
	}
	return a;
}

static void forget_run(struct pz_session *s, struct pz_region *r, uint64_t start, uint64_t end)
{
	for (uint64_t a = start; a < end; a += PZ_PAGE)
		pz_entry_drop(s, pz_entry(s, r, a), PZ_NONE);
}

static void skip(struct pz_keep_result *result, uint64_t pages, int error)
{
	result->skipped += pages;
	if (pages)
		result->reason = error;
}

/*
 * A run of wanted pages of one region, lock held. What follows is next: after one that could not
 * be copied. Answers -EAGAIN where a mapping changes just now.
 */
static int take_run(struct pz_session *s, struct pz_region *r, uint64_t start, uint64_t end,
		    struct pz_keep_result *result, uint64_t *ret_next)
{
	int error = pz_uffd_protect(s->uffd, start, end - start, true, false), why = 0;
	uint64_t done = start, left = 0;

	if (!error)
		done = copy_run(s, r, start, end, &why);
	/* Nothing has moved since: what was copied is what lies there. */
	if (done > start)
		error = pz_uffd_protect(s->uffd, start, done - start, true, false);
	if (error) {
		forget_run(s, r, start, done);
		pz_unprotect_ours(s, start, end);
		return error;
	}
	*ret_next = end;
	if (done < end) {
		uint64_t *e = pz_entry(s, r, done);

		pz_entry_set(s, e, *e & PZ_LEFTOVER);
		skip(result, 1, why);
		*ret_next = done + PZ_PAGE;
		pz_unprotect_ours(s, done, end);
	}
	if (done > start) {
		error = pz_zap_held(s, r, start, done, &left);
		result->kept += (done - start) / PZ_PAGE - left;
		skip(result, left, error ? error : -EAGAIN);
	}
	return 0;
}

/* The first wanted page of [start, end), and where the run of them ends. */
static uint64_t find_run(struct pz_session *s, struct pz_region *r, uint64_t start, uint64_t end,
			 const uint64_t *pagemap, bool shown_only, uint64_t *ret_end)
{
	uint64_t a = start, stop;

	while (a < end &&
	       !pz_keep_wanted(*pz_entry(s, r, a), pagemap[(a - start) / PZ_PAGE], shown_only))
		a += PZ_PAGE;
	stop = a;
	while (stop < end &&
	       pz_keep_wanted(*pz_entry(s, r, stop), pagemap[(stop - start) / PZ_PAGE], shown_only))
		stop += PZ_PAGE;
	*ret_end = stop;
	return a;
}

int pz_keep_by_copy(struct pz_session *s, uint64_t start, uint64_t end, bool shown_only,
		    struct pz_keep_result *ret)
{
	uint64_t pagemap[BATCH_PAGES], at = start;
	unsigned int patience = PATIENCE;

	if (!s->wp)
		return -EOPNOTSUPP;
	while (at < end) {
		struct pz_region *r;
		uint64_t stop, run, next;
		int error = pz_wait_for_removes(s);

		if (error)
			return error;
		pz_main_pause(s);
		PZ_LOCKED(s);
		stop = pz_min(end, at + BATCH_PAGES * PZ_PAGE);
		r = pz_region_find(s, at);
		if (!r) {
			at = stop;
			continue;
		}
		stop = pz_min(stop, r->end);
		error = pz_pagemap_read(s, at, (stop - at) / PZ_PAGE, pagemap);
		if (error)
			return error;
		run = find_run(s, r, at, stop, pagemap, shown_only, &stop);
		if (run == stop) {
			at = stop;
			continue;
		}
		error = take_run(s, r, run, stop, ret, &next);
		if (error == -EAGAIN && patience--) {
			pz_lock_give_up(s, 100);
			continue;
		}
		if (error)
			skip(ret, (stop - run) / PZ_PAGE, error);
		patience = PATIENCE;
		at = error ? stop : next;
	}
	return 0;
}
