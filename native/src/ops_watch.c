/* The operations on watches, stops, steps and the trace. */
#include "request.h"

int op_watch_add(struct request *q)
{
	uint64_t pages = 0;
	int error;

	if (q->s->shown)
		return -EBUSY;
	error = pz_watch_add(q->s, get32(q, 0), get32(q, 4), get64(q, 8), get64(q, 16), &pages);
	if (error)
		return error;
	put64(q, pages);
	return 0;
}

int op_watch_delete(struct request *q)
{
	return get32(q, 4) ? -EINVAL : pz_watch_delete(q->s, get32(q, 0));
}

int op_watch_enable(struct request *q)
{
	return get32(q, 4) > 1 ? -EINVAL : pz_watch_enable(q->s, get32(q, 0), get32(q, 4));
}

int op_watch_counts(struct request *q)
{
	struct pz_session *s = q->s;

	PZ_LOCKED(s);
	put32(q, s->n_watches);
	put32(q, 0);
	for (unsigned int i = 0; i < s->n_watches; i++) {
		put32(q, s->watch[i].id);
		put32(q, 0);
		put64(q, s->watch[i].recorded);
	}
	return 0;
}

int op_hit_take(struct request *q)
{
	struct pz_session *s = q->s;
	uint32_t flags = get32(q, 4);
	struct pz_hit_head head;

	if (flags & ~(uint32_t)PZ_TAKE_STEP)
		return -EINVAL;
	{
		PZ_LOCKED(s);
		struct pz_hit *h;

		pz_hit_settle(s, (pid_t)get32(q, 0));
		h = pz_hit_waiting(s, (pid_t)get32(q, 0));
		if (!h) {
			if (flags & PZ_TAKE_STEP)
				pz_hits_signal_again(s); /* it goes on */
			return -ENOENT;
		}
		h->head.old_length = 0;
		if ((h->head.flags & PZ_HIT_KERNEL) && h->old)
			h->head.old_length = (uint32_t)h->content_length;
		head = h->head;
		put(q, &head, sizeof(head));
		if (head.old_length)
			put(q, h->old, head.old_length);
		pz_hit_clear(h);
		h = pz_hit_waiting(s, (pid_t)head.tid);
		if (h && pz_may_stop(s, (pid_t)head.tid))
			pz_hit_signal(s, h); /* one stop a hit: the next as soon as it runs */
	}
	/* What a call wrote is looked at, and may be away by now. */
	if (!(flags & PZ_TAKE_STEP) && !(head.flags & PZ_HIT_KERNEL))
		return 0;
	return pz_step_begin(s, (pid_t)head.tid, head.address);
}

/* The end of a hit in one call: the step's end, its record, and the debugger's look. */
int op_hit_done(struct request *q)
{
	struct pz_session *s = q->s;
	uint32_t flags = get32(q, 0);
	struct pz_event e;
	int error = 0;

	if ((flags & ~(uint32_t)(PZ_DONE_RECORD | PZ_DONE_SHOW)) || get32(q, 4))
		return -EINVAL;
	error = pz_step_end(s);
	if (!error && (flags & PZ_DONE_SHOW))
		error = pz_show(s);
	PZ_LOCKED(s);
	pz_hit_none_left(s);
	if (flags & PZ_DONE_RECORD) {
		memcpy(&e, q->payload + 8, sizeof(e));
		pz_trace_add(s, &e);
	}
	if (!(flags & PZ_DONE_SHOW) && !s->shown) {
		pz_rearm(s, &s->opened); /* what a call of the kernel's wrote to, not reported */
		pz_hits_signal_again(s);
	}
	return error;
}

int op_show(struct request *q)
{
	return pz_show(q->s);
}

int op_calling(struct request *q)
{
	return pz_show_calling(q->s);
}

int op_hide(struct request *q)
{
	uint64_t taken, lost;
	int error = pz_hide(q->s, &taken, &lost);

	{
		PZ_LOCKED(q->s);
		pz_hits_signal_again(q->s);
	}
	put64(q, taken);
	put64(q, lost);
	return error;
}

int op_detaching(struct request *q)
{
	struct pz_session *s = q->s;
	uint32_t on = get32(q, 0);

	if (on > 1)
		return -EINVAL;
	PZ_LOCKED(s);
	s->detaching = on;
	if (!on)
		return 0;
	/* Threads that wait fault again, and are served without a signal. */
	pz_hit_clear_all(s);
	pz_for_each_region (s, r)
		pz_uffd_wake(s->uffd, r->start, r->end - r->start);
	return 0;
}

int op_trace_read(struct request *q)
{
	struct pz_session *s = q->s;
	pz_autofree struct pz_event *events = malloc(ANSWER_EVENTS * sizeof(*events));
	uint64_t next, dropped;
	uint32_t n;

	if (!events)
		return -ENOMEM;
	PZ_LOCKED(s);
	n = pz_trace_read(s, get64(q, 0), (uint32_t)pz_min(get32(q, 8), ANSWER_EVENTS), events,
			  &next, &dropped);
	put64(q, next);
	put64(q, dropped);
	put32(q, n);
	put32(q, 0);
	put(q, events, n * sizeof(*events));
	return 0;
}

int op_trace_clear(struct request *q)
{
	PZ_LOCKED(q->s);
	pz_trace_clear(q->s);
	return 0;
}
