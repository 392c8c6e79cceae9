/* The operations of the control protocol: the table, and those on the session. */
#include "request.h"

static int op_hello(struct request *q)
{
	struct pz_session *s = q->s;
	uint32_t flags = get32(q, 0);
	struct pz_hello_reply r = {
		.protocol = PZ_PROTOCOL,
		.helper_pid = (uint32_t)getpid(),
		.inferior_pid = (uint32_t)s->options.pid,
		.agent_pid = (uint32_t)s->agent,
		.uffd_features = s->features,
		.flags = (s->move ? PZ_HELLO_MOVE : 0) | (s->wp ? PZ_HELLO_WP : 0) |
			 (s->options.no_move ? PZ_HELLO_NO_MOVE : 0),
	};

	if (flags & ~(uint32_t)PZ_HELLO_OWNER || get32(q, 4))
		return -EINVAL;
	if ((flags & PZ_HELLO_OWNER) && !q->client->owner) {
		PZ_LOCKED(s);
		if (s->owned)
			return -EBUSY;
		s->owned = true;
		q->client->owner = true;
	}
	put(q, &r, sizeof(r));
	return 0;
}

static uint64_t managed_pages(struct pz_session *s)
{
	uint64_t n = 0;

	pz_for_each_region (s, r)
		n += (r->end - r->start) / PZ_PAGE;
	return n;
}

static uint64_t watched_pages(struct pz_session *s)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < s->n_watches; i++) {
		const struct pz_watch *w = &s->watch[i];

		if (w->enabled)
			n += (pz_page_up(w->start + w->length) - pz_page_down(w->start)) / PZ_PAGE;
	}
	return n;
}

static int op_status(struct request *q)
{
	struct pz_session *s = q->s;
	const struct pz_counters *c = &s->count;
	struct pz_status r;

	PZ_LOCKED(s);
	r = (struct pz_status){
		.uptime_us = pz_now_us() - s->start_us,
		.rss_kib = pz_proc_rss_kib(),
		.kept_stash = c->kept[PZ_STASH],
		.kept_store = c->kept[PZ_STORE],
		.filled = c->kept[PZ_FILL],
		.zapped = c->kept[PZ_ZAPPED],
		.store_bytes = pz_store_bytes(s),
		.faults = c->faults,
		.served_missing = c->served_missing,
		.served_wp = c->served_wp,
		.hits = c->hits,
		.signals = c->signals,
		.forks = c->forks,
		.removes = c->removes,
		.unmaps = c->unmaps,
		.remaps = c->remaps,
		.trace_events = s->trace.next,
		.trace_dropped = s->trace.next > s->trace.first + s->trace.capacity
					 ? s->trace.next - s->trace.first - s->trace.capacity
					 : 0,
		.managed_pages = managed_pages(s),
		.watched_pages = watched_pages(s),
		.shown = s->shown,
		.stepping_tid = (uint32_t)s->stepping_tid,
	};
	put(q, &r, sizeof(r));
	return 0;
}

static int op_release(struct request *q)
{
	uint64_t refaulted = 0;
	int error = pz_release(q->s, false, &refaulted);

	if (error)
		return error;
	put64(q, refaulted);
	q->reply->end = true;
	return 0;
}

static const struct {
	int (*run)(struct request *q);
	uint32_t length;
} operations[PZ_OP_COUNT] = {
	[PZ_OP_HELLO] = {op_hello, 8},
	[PZ_OP_STATUS] = {op_status, 0},
	[PZ_OP_KEEP] = {op_keep, 24},
	[PZ_OP_REFAULT] = {op_refault, 16},
	[PZ_OP_FILL] = {op_fill, 32},
	[PZ_OP_WATCH_ADD] = {op_watch_add, 24},
	[PZ_OP_WATCH_DELETE] = {op_watch_delete, 8},
	[PZ_OP_WATCH_ENABLE] = {op_watch_enable, 8},
	[PZ_OP_HIT_TAKE] = {op_hit_take, 8},
	[PZ_OP_HIT_DONE] = {op_hit_done, 72},
	[PZ_OP_WATCH_COUNTS] = {op_watch_counts, 0},
	[PZ_OP_SHOW] = {op_show, 0},
	[PZ_OP_HIDE] = {op_hide, 0},
	[PZ_OP_TRACE_READ] = {op_trace_read, 16},
	[PZ_OP_TRACE_CLEAR] = {op_trace_clear, 0},
	[PZ_OP_LEDGER_READ] = {op_ledger_read, 24},
	[PZ_OP_ADVISE] = {op_advise, 24},
	[PZ_OP_RELEASE] = {op_release, 0},
	[PZ_OP_DETACHING] = {op_detaching, 8},
	[PZ_OP_CALLING] = {op_calling, 0},
	[PZ_OP_OWN] = {op_own, 8},
};

void pz_op_dispatch(struct pz_session *s, struct pz_client *c, uint16_t op, const uint8_t *payload,
		    uint32_t length, int fd, struct pz_reply *ret)
{
	struct request q = {.s = s, .client = c, .payload = payload, .fd = fd, .reply = ret};

	if (op >= PZ_OP_COUNT || !operations[op].run)
		ret->status = -EOPNOTSUPP;
	else if (operations[op].length != length)
		ret->status = -EPROTO;
	else
		ret->status = operations[op].run(&q);
}
