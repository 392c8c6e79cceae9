/* Resolving one fault. Lock held; waits on nobody: content is copied, not moved. */
#include <string.h>

#include "pagezap/pagezap.h"

static uint64_t served_value(uint64_t e, bool mark_shown)
{
	uint64_t left = e & PZ_LEFTOVER;

	if (pz_entry_kept(e) && pz_entry_state(e) == PZ_STASH)
		left = PZ_LEFTOVER;
	if (!mark_shown)
		return PZ_NONE | left;
	if (pz_entry_kept(e) && pz_entry_state(e) != PZ_FILL)
		return pz_entry_state(e) | PZ_SHOWN | (e & PZ_FILLED) | left;
	return PZ_NONE | PZ_SHOWN | left;
}

static int copy_content(struct pz_session *s, struct pz_region *r, uint64_t page, bool protect)
{
	const void *content = pz_ahead_content(s, r, page);

	if (!content) {
		int error = pz_content_read(s, r, page, s->page_buffer);

		if (error)
			return error;
		content = s->page_buffer;
	}
	return pz_uffd_copy(s->uffd, page, content, PZ_PAGE, protect, NULL);
}

static int copy_zeros(struct pz_session *s, uint64_t page, bool protect)
{
	int error = protect ? -EINVAL : pz_uffd_zeropage(s->uffd, page, PZ_PAGE);

	/* EEXIST may be the marker of a protected empty page, which only a copy replaces. */
	if (error != -EINVAL && error != -EEXIST)
		return error;
	memset(s->page_buffer, 0, PZ_PAGE);
	return pz_uffd_copy(s->uffd, page, s->page_buffer, PZ_PAGE, protect, NULL);
}

int pz_serve_missing(struct pz_session *s, uint64_t page, bool protect, bool mark_shown)
{
	struct pz_region *r = pz_region_find(s, page);
	uint64_t *e = NULL;
	bool kept;
	int error;

	if (r && (r->modes & UFFDIO_REGISTER_MODE_MISSING))
		e = pz_entry(s, r, page);
	kept = e && pz_entry_kept(*e);
	protect = protect && r && (r->modes & UFFDIO_REGISTER_MODE_WP);
	error = kept ? copy_content(s, r, page, protect) : copy_zeros(s, page, protect);
	if (error == -EAGAIN ||
	    error == -ENOMEM) /* no memory just now: it must not wait for good */
		return pz_put_off(s, page, 0);
	s->count.served_missing++;
	if (error == -EEXIST) {
		/* Somebody was first; whoever it was wrote the ledger. */
		pz_uffd_wake(s->uffd, page, PZ_PAGE);
		if (!kept)
			return 0;
		error = 0;
	}
	if (error == -ENOENT || error == -ESRCH) {
		pz_uffd_wake(s->uffd, page, PZ_PAGE); /* no such memory any more: it finds out */
		return error;
	}
	if (error && kept)
		return error; /* it waits: never silent zeros */
	if (e && (*e || mark_shown)) {
		uint64_t old = *e;

		pz_entry_set(s, e, served_value(old, mark_shown));
		if (kept && pz_entry_state(old) != PZ_STASH)
			pz_store_free(s, pz_entry_slot(old));
	}
	return error;
}

int pz_serve_wp(struct pz_session *s, uint64_t page)
{
	int error = pz_uffd_protect(s->uffd, page, PZ_PAGE, false, true);

	if (error == -EAGAIN)
		return pz_put_off(s, page, UFFD_PAGEFAULT_FLAG_WP);
	s->count.served_wp++;
	if (error)
		pz_uffd_wake(s->uffd, page, PZ_PAGE);
	return error;
}

/* A fault that is nobody's hit. */
void pz_serve(struct pz_session *s, uint64_t page, bool wp)
{
	if (wp)
		pz_serve_wp(s, page);
	else
		pz_serve_missing(s, page, !s->shown && !s->releasing && pz_watch_covers(s, page),
				 false);
}
