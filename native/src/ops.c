/* The operations of the control protocol. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define ANSWER_EVENTS 1000
#define ANSWER_RUNS   2000

struct request {
	struct pz_session *s;
	struct pz_client *client;
	const uint8_t *payload;
	int fd;
	struct pz_reply *reply;
};

static uint32_t get32(const struct request *q, size_t at)
{
	uint32_t v;

	memcpy(&v, q->payload + at, sizeof(v));
	return v;
}

static uint64_t get64(const struct request *q, size_t at)
{
	uint64_t v;

	memcpy(&v, q->payload + at, sizeof(v));
	return v;
}

static void put(struct request *q, const void *data, size_t length)
{
	memcpy(q->reply->payload + q->reply->length, data, length);
	q->reply->length += (uint32_t)length;
}

static void put32(struct request *q, uint32_t v)
{
	put(q, &v, sizeof(v));
}

static void put64(struct request *q, uint64_t v)
{
	put(q, &v, sizeof(v));
}

/* A page-aligned range at the start of the payload; (0, 0) is everything where allowed. */
static int get_range(const struct request *q, bool all_allowed, uint64_t *start, uint64_t *end)
{
	uint64_t length = get64(q, 8);

	*start = get64(q, 0);
	if (all_allowed && !*start && !length) {
		*end = ~0ull & PZ_PAGE_MASK;
		return 0;
	}
	if ((*start | length) % PZ_PAGE || !length || *start + length <= *start)
		return -EINVAL;
	*end = *start + length;
	return 0;
}

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

static int op_keep(struct request *q)
{
	struct pz_keep_result r;
	uint64_t start, end;
	int error = get_range(q, false, &start, &end);

	if (error || get32(q, 16) || get32(q, 20))
		return -EINVAL;
	if (q->s->shown)
		return -EBUSY;
	error = pz_keep(q->s, start, end - start, false, &r);
	if (error)
		return error;
	put64(q, r.pages);
	put64(q, r.kept);
	put64(q, r.skipped);
	put64(q, r.unpopulated);
	put32(q, (uint32_t)r.reason);
	put32(q, 0);
	return 0;
}

/* Pages that are present and were; whole regions for (0, 0). */
static void count_present(struct pz_session *s, uint64_t start, uint64_t end, bool all,
			  struct pz_bring_result *r)
{
	uint64_t buffer[512];
	uint64_t populated = 0, pages = 0;

	PZ_LOCKED(s);
	for (uint64_t at = start; at < end;) {
		struct pz_region *region = all ? pz_region_next(s, at) : NULL;
		uint64_t n;

		if (all && !region)
			break;
		if (all)
			at = pz_max(at, region->start);
		n = pz_min(((all ? region->end : end) - at) / PZ_PAGE, 512);
		if (pz_pagemap_read(s, at, n, buffer))
			break;
		for (uint64_t i = 0; i < n; i++)
			populated += pz_pagemap_populated(buffer[i]);
		pages += n;
		at += n * PZ_PAGE;
	}
	r->pages = all ? pages : (end - start) / PZ_PAGE;
	r->resident = populated > r->refaulted ? populated - r->refaulted : 0;
	r->unpopulated = r->pages - pz_min(r->pages, r->resident + r->refaulted);
}

static int op_refault(struct request *q)
{
	struct pz_bring_result r = {0};
	uint64_t start, end;
	int error = get_range(q, true, &start, &end);

	if (error)
		return error;
	if (q->s->shown)
		return -EBUSY;
	error = pz_bring(q->s, start, end, false, &r);
	if (error)
		return error;
	count_present(q->s, start, end, !start, &r);
	put64(q, r.pages);
	put64(q, r.refaulted);
	put64(q, r.resident);
	put64(q, r.unpopulated);
	return 0;
}

static int op_fill(struct request *q)
{
	uint64_t start, end, pages = 0, dropped = 0;
	int error = get_range(q, false, &start, &end);

	if (error)
		return error;
	if (q->s->shown)
		return -EBUSY;
	error = pz_fill(q->s, start, end - start, get32(q, 16), get32(q, 20), q->fd, get64(q, 24),
			&pages, &dropped);
	if (error)
		return error;
	put64(q, pages);
	put64(q, dropped);
	return 0;
}

static int op_watch_add(struct request *q)
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

static int op_watch_delete(struct request *q)
{
	return get32(q, 4) ? -EINVAL : pz_watch_delete(q->s, get32(q, 0));
}

static int op_watch_enable(struct request *q)
{
	return get32(q, 4) > 1 ? -EINVAL : pz_watch_enable(q->s, get32(q, 0), get32(q, 4));
}

static int op_hit_take(struct request *q)
{
	struct pz_session *s = q->s;
	struct pz_hit *h;

	PZ_LOCKED(s);
	h = pz_hit_of(s, (pid_t)get32(q, 0), false);
	if (!h || !h->ready)
		return -ENOENT;
	h->head.old_length = 0;
	if ((h->head.flags & PZ_HIT_KERNEL) && h->old)
		h->head.old_length = (uint32_t)h->content_length;
	put(q, &h->head, sizeof(h->head));
	if (h->head.old_length)
		put(q, h->old, h->head.old_length);
	pz_hit_clear(h);
	return 0;
}

static int op_step_begin(struct request *q)
{
	return pz_step_begin(q->s, (pid_t)get32(q, 0), get64(q, 8));
}

static int op_step_end(struct request *q)
{
	struct pz_session *s = q->s;
	int error = pz_step_end(s);

	PZ_LOCKED(s);
	s->stop_pending = false;
	put32(q, s->n_step_faults);
	put32(q, 0);
	put(q, s->step_fault, s->n_step_faults * sizeof(s->step_fault[0]));
	s->n_step_faults = 0;
	return error;
}

static int op_show(struct request *q)
{
	return pz_show(q->s);
}

static int op_hide(struct request *q)
{
	uint64_t taken, lost;
	int error = pz_hide(q->s, &taken, &lost);

	put64(q, taken);
	put64(q, lost);
	return error;
}

static int op_trace_read(struct request *q)
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

static int op_trace_add(struct request *q)
{
	struct pz_event e;

	memcpy(&e, q->payload, sizeof(e));
	PZ_LOCKED(q->s);
	pz_trace_add(q->s, &e);
	return 0;
}

static int op_trace_clear(struct request *q)
{
	PZ_LOCKED(q->s);
	pz_trace_clear(q->s);
	return 0;
}

static uint32_t run_state(uint64_t e)
{
	return (e & PZ_FILLED) ? PZ_FILL : pz_entry_state(e);
}

static int op_ledger_read(struct request *q)
{
	struct pz_session *s = q->s;
	pz_autofree struct pz_ledger_run *runs = malloc(ANSWER_RUNS * sizeof(*runs));
	uint64_t start, end, cursor = get64(q, 16), next = 0;
	uint32_t n = 0;
	int error = get_range(q, true, &start, &end);

	if (error)
		return error;
	if (!runs)
		return -ENOMEM;
	PZ_LOCKED(s);
	start = pz_max(start, cursor);
	for (struct pz_region *r = pz_region_next(s, start);
	     !next && r && r < s->shared->regions + s->shared->n_regions && r->start < end; r++) {
		uint64_t a = pz_max(start, r->start), stop = pz_min(end, r->end);

		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (; a < stop; a += PZ_PAGE) {
			uint64_t e = *pz_entry(s, r, a);
			uint32_t state = run_state(e), flags = (e & PZ_SHOWN) ? 1 : 0;

			if (!state)
				continue;
			if (n && runs[n - 1].start + runs[n - 1].length == a &&
			    runs[n - 1].state == state && runs[n - 1].flags == flags) {
				runs[n - 1].length += PZ_PAGE;
				continue;
			}
			if (n == ANSWER_RUNS) {
				next = a;
				break;
			}
			runs[n++] = (struct pz_ledger_run){a, PZ_PAGE, state, flags};
		}
	}
	put64(q, next);
	put32(q, n);
	put32(q, 0);
	put(q, runs, n * sizeof(*runs));
	return 0;
}

static int op_advise(struct request *q)
{
	uint64_t start, end;
	int64_t result;
	int error = get_range(q, false, &start, &end);

	if (error || get32(q, 20))
		return -EINVAL;
	error = pz_advise(q->s, start, end - start, (int)get32(q, 16), &result);
	if (error)
		return error;
	put64(q, (uint64_t)result);
	return 0;
}

static int op_own(struct request *q)
{
	struct pz_session *s = q->s;
	uint32_t count = 0;

	PZ_LOCKED(s);
	put64(q, 0); /* the count, known at the end */
	for (uint32_t i = 0; i < s->shared->n_garbage; i++, count++)
		put(q, &s->shared->garbage[i], sizeof(s->shared->garbage[i]));
	for (uint32_t i = 0; i < s->shared->n_regions && count < ANSWER_RUNS; i++) {
		const struct pz_region *r = &s->shared->regions[i];

		if (!r->stash)
			continue;
		put64(q, r->stash);
		put64(q, r->end - r->start);
		count++;
	}
	memcpy(q->reply->payload, &count, sizeof(count));
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

static int op_detaching(struct request *q)
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

static int op_running(struct request *q)
{
	struct pz_session *s = q->s;
	struct pz_hit *h;

	PZ_LOCKED(s);
	s->stop_pending = false;
	h = pz_hit_of(s, (pid_t)get32(q, 0), false);
	if (h) {
		pz_hit_forget_deferral(s, h);
		pz_hit_clear(h);
	}
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
	[PZ_OP_STEP_BEGIN] = {op_step_begin, 16},
	[PZ_OP_STEP_END] = {op_step_end, 0},
	[PZ_OP_SHOW] = {op_show, 0},
	[PZ_OP_HIDE] = {op_hide, 0},
	[PZ_OP_TRACE_READ] = {op_trace_read, 16},
	[PZ_OP_TRACE_ADD] = {op_trace_add, 64},
	[PZ_OP_TRACE_CLEAR] = {op_trace_clear, 0},
	[PZ_OP_LEDGER_READ] = {op_ledger_read, 24},
	[PZ_OP_ADVISE] = {op_advise, 24},
	[PZ_OP_RELEASE] = {op_release, 0},
	[PZ_OP_DETACHING] = {op_detaching, 8},
	[PZ_OP_RUNNING] = {op_running, 8},
	[PZ_OP_OWN] = {op_own, 0},
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
