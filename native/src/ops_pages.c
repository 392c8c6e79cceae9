/* The operations on pages: away, back, filled, advised, listed. */
#include "request.h"

int op_keep(struct request *q)
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

static bool next_region(struct pz_session *s, uint64_t at, uint64_t *ret_start, uint64_t *ret_end)
{
	const struct pz_region *r;

	PZ_LOCKED(s);
	r = pz_region_next(s, at);
	if (r) {
		*ret_start = r->start;
		*ret_end = r->end;
	}
	return r;
}

/* Pages that are present and were; whole regions for (0, 0). */
static void count_present(struct pz_session *s, uint64_t start, uint64_t end, bool all,
			  struct pz_bring_result *r)
{
	uint64_t buffer[512];
	uint64_t populated = 0, pages = 0;

	for (uint64_t at = start; at < end;) {
		uint64_t from = at, to = end, n;

		if (all && !next_region(s, at, &from, &to))
			break;
		at = pz_max(at, from);
		n = pz_min((to - at) / PZ_PAGE, 512);
		pz_main_pause(s);
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

int op_refault(struct request *q)
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
	count_present(q->s, start, end, !get64(q, 8), &r);
	put64(q, r.pages);
	put64(q, r.refaulted);
	put64(q, r.resident);
	put64(q, r.unpopulated);
	return 0;
}

int op_fill(struct request *q)
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

int op_advise(struct request *q)
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

static uint32_t run_state(uint64_t e)
{
	return (e & PZ_FILLED) ? PZ_FILL : pz_entry_state(e);
}

int op_ledger_read(struct request *q)
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
	for (struct pz_region *r = pz_region_next(s, start); !next && r && r->start < end;
	     r = pz_region_next(s, r->end)) {
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

int op_own(struct request *q)
{
	const struct pz_shared *shared = q->s->shared;
	uint64_t i = get64(q, 0), counts[2] = {0};

	PZ_LOCKED(q->s);
	put(q, counts, sizeof(counts)); /* known at the end */
	for (; i < shared->n_slots && counts[1] < ANSWER_RUNS; i++) {
		const struct pz_region *r = &shared->slot[i];

		if (r->kind == PZ_REGION_FREE || !r->stash)
			continue;
		put64(q, r->stash);
		put64(q, r->end - r->start);
		counts[1]++;
	}
	counts[0] = i < shared->n_slots ? i : 0;
	memcpy(q->reply->payload, counts, sizeof(counts));
	return 0;
}
