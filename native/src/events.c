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
	if (ours)
		*own = (struct pz_span){end, own_end - end};
	if (ours && !dropping)
		return; /* the ledger holds the content already */
	pz_region_drop(s, start, end, ours ? PZ_ZAPPED : PZ_NONE);
}

static void handle(struct pz_session *s, const struct uffd_msg *m)
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

/*
 * The next message, NULL where there is none. It is read into what the keeper sees: a helper
 * that is killed from here on has lost no event.
 */
struct uffd_msg *pz_message_read(struct pz_session *s)
{
	struct uffd_msg *m = &s->shared->message;

	return read(s->uffd, m, sizeof(*m)) == (ssize_t)sizeof(*m) ? m : NULL;
}

void pz_event_handle(struct pz_session *s, const struct uffd_msg *m)
{
	handle(s, m);
	s->shared->message.event = 0;
}

/* Recovery: what a killed helper had read and may not have done whole. Done twice it is as once. */
void pz_event_redo(struct pz_session *s)
{
	const struct uffd_msg *m = &s->shared->message;

	/* The child of a fork went with the helper, whose descriptor it was. */
	if (m->event == UFFD_EVENT_REMOVE || m->event == UFFD_EVENT_UNMAP ||
	    m->event == UFFD_EVENT_REMAP)
		pz_event_handle(s, m);
}
