/* The ledger: one entry a page, its counters, and where a content is read from. */
#include <string.h>
#include <sys/uio.h>

#include "pagezap/pagezap.h"

uint64_t *pz_entry(struct pz_session *s, const struct pz_region *r, uint64_t address)
{
	return &s->ledger[r->entry + (address - r->start) / PZ_PAGE];
}

static enum pz_state counted_state(uint64_t e)
{
	return (e & PZ_FILLED) ? PZ_FILL : pz_entry_state(e);
}

static void account(struct pz_session *s, uint64_t e, int64_t sign)
{
	s->count.kept[counted_state(e)] += (uint64_t)sign;
	if (e & PZ_SHOWN)
		s->count.shown += (uint64_t)sign;
	if (e & PZ_LEFTOVER)
		s->count.leftovers += (uint64_t)sign;
}

void pz_entry_set(struct pz_session *s, uint64_t *entry, uint64_t value)
{
	account(s, *entry, -1);
	account(s, value, 1);
	if (pz_entry_kept(value) && pz_entry_state(value) == PZ_STASH)
		s->stash_changes++;
	__atomic_store_n(entry, value, __ATOMIC_RELEASE);
}

/* Forgets the content that an entry holds. */
void pz_entry_drop(struct pz_session *s, uint64_t *entry, enum pz_state state)
{
	uint64_t e = *entry;
	uint64_t value = state | (e & PZ_LEFTOVER);

	if (pz_entry_kept(e)) {
		if (pz_entry_state(e) == PZ_STASH)
			value |= PZ_LEFTOVER;
		else
			pz_store_free(s, pz_entry_slot(e));
	}
	pz_entry_set(s, entry, value);
}

static int mem_read(struct pz_session *s, uint64_t address, void *ret)
{
	/* Never blocks: /proc/PID/mem answers EIO where a page is missing. */
	ssize_t n = pread(s->mem_fd, ret, PZ_PAGE, (off_t)address);

	if (n == (ssize_t)PZ_PAGE)
		return 0;
	return n < 0 ? -errno : -EIO;
}

/* A page of the stash, which nobody faults on: in one copy. */
static int stash_read(struct pz_session *s, uint64_t address, void *ret)
{
	struct iovec local = {ret, PZ_PAGE}, remote = {(void *)(uintptr_t)address, PZ_PAGE};

	/* By the agent, whose mm it is: the program may have become another one by exec. */
	if (process_vm_readv(s->agent, &local, 1, &remote, 1, 0) == (ssize_t)PZ_PAGE)
		return 0;
	return mem_read(s, address, ret);
}

/* The content of a page, wherever it is. */
int pz_content_read(struct pz_session *s, const struct pz_region *r, uint64_t address, void *ret)
{
	uint64_t e = (r->modes & UFFDIO_REGISTER_MODE_MISSING) ? *pz_entry(s, r, address) : 0;

	if (!pz_entry_kept(e)) {
		uint64_t state;
		int error = mem_read(s, address, ret);

		/* An empty page of a range that is registered for such: it reads zeros. */
		if (error && pz_pagemap_read(s, address, 1, &state) == 0 &&
		    !pz_pagemap_populated(state)) {
			memset(ret, 0, PZ_PAGE);
			return 0;
		}
		return error;
	}
	if (pz_entry_state(e) == PZ_STASH)
		return stash_read(s, r->stash + (address - r->start), ret);
	return pz_store_get(s, pz_entry_slot(e), ret);
}

/* Counts again what a predecessor counted (recovery). */
void pz_ledger_recount(struct pz_session *s)
{
	memset(s->count.kept, 0, sizeof(s->count.kept));
	s->count.shown = 0;
	s->count.leftovers = 0;
	pz_for_each_region (s, r) {
		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (uint64_t a = r->start; a < r->end; a += PZ_PAGE)
			account(s, *pz_entry(s, r, a), 1);
	}
}
