/*
 * Contents of the stash, read ahead of the faults. A read from another process costs more
 * for the asking than for the bytes: where pages fault in a row, one read serves many.
 *
 * The stash does not change while a page is kept. Whatever comes into it anew is counted in
 * `stash_changes`, and then nothing that was read before is used.
 */
#include <sys/uio.h>

#include "pagezap/pagezap.h"

static bool in_stash(uint64_t entry)
{
	return pz_entry_kept(entry) && pz_entry_state(entry) == PZ_STASH;
}

/* The pages from this one on whose content waits in the stash. */
static uint64_t run_length(struct pz_session *s, const struct pz_region *r, uint64_t page)
{
	uint64_t n = 0;

	while (n < PZ_AHEAD_PAGES && page + n * PZ_PAGE < r->end &&
	       in_stash(*pz_entry(s, r, page + n * PZ_PAGE)))
		n++;
	return n;
}

/* The page's content, or NULL where it has to be read on its own. Fault thread, lock held. */
const void *pz_ahead_content(struct pz_session *s, const struct pz_region *r, uint64_t page)
{
	struct pz_ahead *a = &s->ahead;
	uint64_t at = r->stash + (page - r->start), length;
	bool in_row = at == a->next;
	struct iovec local, remote;

	if (!in_stash(*pz_entry(s, r, page)))
		return NULL;
	a->next = at + PZ_PAGE;
	if (a->changes == s->stash_changes && a->start <= at && at < a->end)
		return a->buffer + (at - a->start);
	if (!in_row)
		return NULL;
	length = run_length(s, r, page) * PZ_PAGE;
	local = (struct iovec){a->buffer, length};
	remote = (struct iovec){(void *)(uintptr_t)at, length};
	a->end = 0;
	if (process_vm_readv(s->agent, &local, 1, &remote, 1, 0) != (ssize_t)length)
		return NULL;
	a->start = at;
	a->end = at + length;
	a->changes = s->stash_changes;
	return a->buffer;
}
