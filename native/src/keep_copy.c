/*
 * Taking pages away where they cannot be moved: write-protect, copy into the
 * store, ledger, zap, un-protect. A writer waits in its fault meanwhile.
 */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define BATCH_PAGES 64

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

/* Copies a run of wanted pages; the ledger holds them as MOVING. Lock held. */
static uint64_t copy_run(struct pz_session *s, struct pz_region *r, uint64_t start, uint64_t end,
			 struct pz_keep_result *result)
{
	uint64_t a;
	int error = pz_uffd_protect(s->uffd, start, end - start, true, false);

	for (a = start; a < end; a += PZ_PAGE) {
		uint64_t *e = pz_entry(s, r, a);

		if (!error)
			error = store_page(s, e, a);
		if (error) {
			result->skipped++;
			result->reason = error;
			pz_entry_set(s, e, *e & PZ_LEFTOVER);
			break;
		}
	}
	return a;
}

/* Undoes our protection and leaves that of the watches. Lock held. */
static void unprotect(struct pz_session *s, uint64_t start, uint64_t end)
{
	while (pz_uffd_protect(s->uffd, start, end - start, false, true) == -EAGAIN)
		pz_lock_give_up(s, 100);
	pz_uffd_wake(s->uffd, start, end - start);
	for (uint64_t a = start; a < end && !s->shown && !s->releasing; a += PZ_PAGE) {
		if (pz_watch_covers(s, a))
			pz_protect_page(s, a, true);
	}
}

/* A zap that failed in the middle has taken some pages: their only copy is ours. */
static bool there(struct pz_session *s, uint64_t address)
{
	uint64_t state;

	return pz_pagemap_read(s, address, 1, &state) == 0 && pz_pagemap_populated(state);
}

static void settle(struct pz_session *s, uint64_t start, uint64_t end, int error,
		   struct pz_keep_result *result)
{
	struct pz_region *r;

	PZ_LOCKED(s);
	for (uint64_t a = start; a < end; a += PZ_PAGE) {
		uint64_t *e;

		r = pz_region_find(s, a);
		if (!r)
			continue;
		e = pz_entry(s, r, a);
		if (!(*e & PZ_MOVING))
			continue; /* dropped by the program meanwhile */
		pz_entry_set(s, e, *e & ~PZ_MOVING);
		if (error && there(s, a)) {
			pz_entry_drop(s, e, PZ_NONE);
			result->skipped++;
			result->reason = error;
		} else {
			result->kept++;
		}
	}
	/* Everybody who waited tries again, and finds the page missing. */
	unprotect(s, start, end);
}

int pz_keep_by_copy(struct pz_session *s, uint64_t start, uint64_t end, bool shown_only,
		    struct pz_keep_result *ret)
{
	uint64_t pagemap[BATCH_PAGES], at = start;

	if (!s->wp)
		return -EOPNOTSUPP;
	while (at < end) {
		uint64_t stop, run, next, begin = 0;
		int error;

		pz_main_pause(s);
		{
			struct pz_region *r;

			PZ_LOCKED(s);
			r = pz_region_find(s, at);
			stop = pz_min(end, at + BATCH_PAGES * PZ_PAGE);
			next = stop;
			if (r)
				stop = next = pz_min(stop, r->end);
			error = r ? pz_pagemap_read(s, at, (stop - at) / PZ_PAGE, pagemap) : 0;
			if (error)
				return error;
			run = at;
			while (r && run < stop &&
			       !pz_keep_wanted(*pz_entry(s, r, run), pagemap[(run - at) / PZ_PAGE],
					       shown_only))
				run += PZ_PAGE;
			begin = run;
			while (r && run < stop &&
			       pz_keep_wanted(*pz_entry(s, r, run), pagemap[(run - at) / PZ_PAGE],
					      shown_only))
				run += PZ_PAGE;
			if (!r || begin == run) {
				at = next;
				continue;
			}
			next = copy_run(s, r, begin, run, ret);
		}
		error = next > begin ? pz_zap_held(s, begin, next - begin, PZ_STORE) : 0;
		settle(s, begin, next, error, ret);
		if (next < run) { /* skipped one: un-protect it, go on after it */
			PZ_LOCKED(s);
			unprotect(s, next, run);
			next += PZ_PAGE;
		}
		at = next;
	}
	return 0;
}
