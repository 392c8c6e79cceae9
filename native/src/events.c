/* What the program does to its mappings: fork, remove, unmap, remap. Lock held. */
#include <string.h>

#include "pagezap/pagezap.h"

#define BATCH_PAGES 64

/* Gives the child the content of [a, a + n pages), all kept. */
static void populate(struct pz_session *s, int child, struct pz_region *r, uint64_t a, uint64_t n)
{
	uint64_t ready = 0, done = 0;

	while (ready < n) {
		if (pz_content_read(s, r, a + ready * PZ_PAGE, s->page_buffer + ready * PZ_PAGE))
			break;
		ready++;
	}
	/* What cannot be read must not be zeros in the child: its access fails. */
	if (ready < n && (s->features & PZ_FEATURE_POISON)) {
		while (pz_uffd_poison(child, a + ready * PZ_PAGE, (n - ready) * PZ_PAGE) == -EAGAIN)
			pz_sleep_us(100);
	}
	while (done < ready * PZ_PAGE) {
		uint64_t copied = 0;
		int error = pz_uffd_copy(child, a + done, s->page_buffer + done,
					 ready * PZ_PAGE - done, false, &copied);

		done += copied;
		if (error == -EEXIST)
			done += PZ_PAGE;
		else if (error == -EAGAIN && !copied)
			pz_sleep_us(100); /* the child forks or maps in its turn */
		else if (error && error != -EAGAIN)
			return; /* the child is gone */
	}
}

/*
 * The child's faults wait until its descriptor is closed. It gets by copy what
 * the parent's stash and store hold; nothing of ours stays in it.
 */
static void handle_fork(struct pz_session *s, int child)
{
	s->count.forks++;
	pz_for_each_region (s, r) {
		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (uint64_t a = r->start; a < r->end;) {
			uint64_t n = 0;

			while (n < BATCH_PAGES && a + n * PZ_PAGE < r->end &&
			       pz_entry_kept(*pz_entry(s, r, a + n * PZ_PAGE)))
				n++;
			if (n)
				populate(s, child, r, a, n);
			a += (n ? n : 1) * PZ_PAGE;
		}
	}
	close(child);
}

static void handle_remove(struct pz_session *s, uint64_t start, uint64_t end)
{
	const struct pz_span *own = &s->shared->own_zap;
	bool ours = own->length && start < own->start + own->length && end > own->start;

	if (!ours) {
		s->count.removes++;
		s->last_remove_us = pz_now_us();
	}
	if (ours && s->shared->own_zap_state != PZ_ZAPPED && own->start <= start &&
	    end <= own->start + own->length)
		return; /* the ledger holds the content already */
	pz_for_each_region (s, r) {
		uint64_t stop = pz_min(end, r->end);

		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (uint64_t a = pz_max(start, r->start); a < stop; a += PZ_PAGE)
			pz_entry_drop(s, pz_entry(s, r, a), ours ? PZ_ZAPPED : PZ_NONE);
	}
}

void pz_event_handle(struct pz_session *s, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_FORK:
		handle_fork(s, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMOVE:
		handle_remove(s, m->arg.remove.start, m->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		s->count.unmaps++;
		pz_region_remove(s, m->arg.remove.start, m->arg.remove.end);
		pz_kick(s);
		break;
	case UFFD_EVENT_REMAP:
		s->count.remaps++;
		pz_region_rekey(s, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		break;
	default:
		break;
	}
}
