/* What the program does to its mappings: fork, remove, unmap, remap. Lock held. */
#include "pagezap/pagezap.h"

static void handle_remove(struct pz_session *s, uint64_t start, uint64_t end)
{
	struct pz_span *own = &s->shared->own_zap;
	uint64_t own_end = own->start + own->length;
	bool dropping = s->shared->own_zap_state == PZ_ZAPPED;
	/*
	 * One event a mapping, in order. What the program drops itself in this moment cannot be
	 * told from it: then a content comes back that it gave up, but none is lost.
	 */
	bool ours = own->length && start >= own->start && end <= own_end;

	if (!ours) {
		s->count.removes++;
		s->last_remove_us = pz_now_us();
	}
	if (ours && dropping)
		*own = (struct pz_span){end, own_end - end};
	if (ours && !dropping)
		return; /* the ledger holds the content already */
	pz_region_drop(s, start, end, ours ? PZ_ZAPPED : PZ_NONE);
}

void pz_event_handle(struct pz_session *s, const struct uffd_msg *m)
{
	switch (m->event) {
	case UFFD_EVENT_FORK:
		pz_fork(s, (int)m->arg.fork.ufd);
		break;
	case UFFD_EVENT_REMOVE:
		handle_remove(s, m->arg.remove.start, m->arg.remove.end);
		break;
	case UFFD_EVENT_UNMAP:
		s->count.unmaps++;
		pz_region_remove(s, m->arg.remove.start, m->arg.remove.end);
		/* Whoever waits for a page there finds that it has gone. */
		pz_uffd_wake(s->uffd, m->arg.remove.start, m->arg.remove.end - m->arg.remove.start);
		pz_kick(s);
		break;
	case UFFD_EVENT_REMAP:
		s->count.remaps++;
		pz_region_rekey(s, m->arg.remap.from, m->arg.remap.to, m->arg.remap.len);
		pz_uffd_wake(s->uffd, m->arg.remap.from, m->arg.remap.len);
		break;
	default:
		break;
	}
}
