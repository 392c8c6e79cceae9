/* One request: reading its payload, writing its answer. */
#ifndef PAGEZAP_REQUEST_H
#define PAGEZAP_REQUEST_H

#include <string.h>

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

static inline uint32_t get32(const struct request *q, size_t at)
{
	uint32_t v;

	memcpy(&v, q->payload + at, sizeof(v));
	return v;
}

static inline uint64_t get64(const struct request *q, size_t at)
{
	uint64_t v;

	memcpy(&v, q->payload + at, sizeof(v));
	return v;
}

static inline void put(struct request *q, const void *data, size_t length)
{
	memcpy(q->reply->payload + q->reply->length, data, length);
	q->reply->length += (uint32_t)length;
}

static inline void put32(struct request *q, uint32_t v)
{
	put(q, &v, sizeof(v));
}

static inline void put64(struct request *q, uint64_t v)
{
	put(q, &v, sizeof(v));
}

/* A page-aligned range at the start of the payload; (0, 0) is everything where allowed. */
static inline int get_range(const struct request *q, bool all_allowed, uint64_t *start,
			    uint64_t *end)
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

/* ops_pages.c, ops_watch.c */
int op_keep(struct request *q);
int op_refault(struct request *q);
int op_fill(struct request *q);
int op_advise(struct request *q);
int op_ledger_read(struct request *q);
int op_own(struct request *q);
int op_hit_done(struct request *q);
int op_watch_add(struct request *q);
int op_watch_delete(struct request *q);
int op_watch_enable(struct request *q);
int op_hit_take(struct request *q);
int op_watch_counts(struct request *q);
int op_show(struct request *q);
int op_calling(struct request *q);
int op_hide(struct request *q);
int op_detaching(struct request *q);
int op_trace_read(struct request *q);
int op_trace_clear(struct request *q);

#endif
