/* Watches, and the protection of the pages they cover. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define PROTECT_CHUNK (32ull << 20)
#define PATIENCE      2000
#define POPULATE_READ 22

static uint64_t first_page(const struct pz_watch *w)
{
	return pz_page_down(w->start);
}

static uint64_t last_page_end(const struct pz_watch *w)
{
	return pz_page_up(w->start + w->length);
}

static struct pz_watch *find(struct pz_session *s, uint32_t id)
{
	for (unsigned int i = 0; i < s->n_watches; i++) {
		if (s->watch[i].id == id)
			return &s->watch[i];
	}
	return NULL;
}

void pz_watch_count(struct pz_session *s, uint32_t id)
{
	struct pz_watch *w = find(s, id);

	if (w)
		w->recorded++;
}

static bool on_page(const struct pz_watch *w, uint64_t page)
{
	return w->enabled && first_page(w) <= page && page < last_page_end(w);
}

bool pz_watch_covers(struct pz_session *s, uint64_t page)
{
	for (unsigned int i = 0; i < s->n_watches; i++) {
		if (on_page(&s->watch[i], page))
			return true;
	}
	return false;
}

/* The watch an access concerns: stopping before tracing, the exact bytes before neighbours. */
const struct pz_watch *pz_watch_on_page(struct pz_session *s, uint64_t page, bool write,
					uint64_t address, bool *ret_exact, bool *ret_stopping)
{
	const struct pz_watch *best = NULL;
	int best_rank = -1;

	for (unsigned int i = 0; i < s->n_watches; i++) {
		const struct pz_watch *w = &s->watch[i];
		bool exact, stopping = !(w->flags & PZ_WATCH_TRACE);
		int rank;

		if (!on_page(w, page) || (!write && (w->flags & PZ_WATCH_WRITE_ONLY)))
			continue;
		exact = w->start <= address && address < w->start + w->length;
		rank = (stopping ? 2 : 0) + (exact ? 1 : 0);
		if (rank > best_rank) {
			best = w;
			best_rank = rank;
			*ret_exact = exact;
			*ret_stopping = stopping;
		}
	}
	return best;
}

/* Lock held; given up between chunks and while a mapping changes. */
int pz_protect_range(struct pz_session *s, uint64_t start, uint64_t end, bool protect)
{
	unsigned int patience = PATIENCE;
	uint64_t at = start;

	while (at < end) {
		struct pz_region *r = pz_region_next(s, at);
		uint64_t stop;
		int error;

		if (!r || r->start >= end)
			return 0;
		at = pz_max(at, r->start);
		stop = pz_min(pz_min(r->end, end), at + PROTECT_CHUNK);
		if (!(r->modes & UFFDIO_REGISTER_MODE_WP)) {
			at = pz_min(r->end, end);
			continue;
		}
		error = pz_uffd_protect(s->uffd, at, stop - at, protect, true);
		if (error == -EAGAIN && patience--) {
			pz_lock_give_up(s, 100);
			continue;
		}
		if (error && error != -ENOENT)
			return error;
		at = stop;
		if (at < end)
			pz_lock_make_room(s);
	}
	return 0;
}

void pz_protect_page(struct pz_session *s, uint64_t page, bool protect)
{
	pz_protect_range(s, page, page + PZ_PAGE, protect);
}

/* The first error; the other watches are seen to all the same. */
int pz_protect_all(struct pz_session *s, bool protect)
{
	int first = 0;

	for (unsigned int i = 0; i < s->n_watches; i++) {
		const struct pz_watch *w = &s->watch[i];
		int error = 0;

		if (w->enabled)
			error = pz_protect_range(s, first_page(w), last_page_end(w), protect);
		if (!first)
			first = error;
	}
	return first;
}

/* Where a watch begins or ends behind an address; `end` where none does before. */
static uint64_t next_edge(const struct pz_session *s, uint64_t at, uint64_t end)
{
	for (unsigned int i = 0; i < s->n_watches; i++) {
		const struct pz_watch *w = &s->watch[i];

		if (first_page(w) > at)
			end = pz_min(end, first_page(w));
		if (last_page_end(w) > at)
			end = pz_min(end, last_page_end(w));
	}
	return end;
}

static int arm(struct pz_session *s, const struct pz_watch *w)
{
	if (s->shown || s->releasing)
		return 0;
	return pz_protect_range(s, first_page(w), last_page_end(w), true);
}

/* The program runs: what another watch covers stays protected all the time. */
static int disarm(struct pz_session *s, const struct pz_watch *w)
{
	uint64_t at = first_page(w), end = last_page_end(w);
	int error = 0;

	while (!s->shown && !s->releasing && !error && at < end) {
		uint64_t edge = next_edge(s, at, end);

		if (!pz_watch_covers(s, at))
			error = pz_protect_range(s, at, edge, false);
		at = edge;
	}
	return error;
}

struct covering {
	struct pz_session *s;
	bool populate;
};

static int cover_vma(void *context, const struct pz_vma *v)
{
	struct covering *c = context;
	struct pz_session *s = c->s;
	uint64_t modes = UFFDIO_REGISTER_MODE_WP;

	/* Where empty pages cannot be armed they are filled with the zero page first. */
	if (c->populate)
		pz_agent_syscall(s, SYS_madvise, v->start, v->end - v->start, POPULATE_READ);
	PZ_LOCKED(s);
	/* A page that the program drops has lost its protection: it is missing then. */
	if (v->private_anonymous)
		modes |= UFFDIO_REGISTER_MODE_MISSING;
	return pz_region_cover(s, v->start, v->end, modes);
}

static bool ours(struct pz_session *s, uint64_t start, uint64_t end)
{
	PZ_LOCKED(s);
	return pz_region_ours(s, start, end);
}

int pz_watch_add(struct pz_session *s, uint32_t id, uint32_t flags, uint64_t start, uint64_t length,
		 uint64_t *ret_pages)
{
	struct covering c = {.s = s, .populate = !(s->features & PZ_FEATURE_WP_UNPOPULATED)};
	struct pz_watch w = {
		.id = id, .flags = flags, .start = start, .length = length, .enabled = true};
	int error;

	if (!length || start + length < start || last_page_end(&w) <= first_page(&w) ||
	    flags & ~(uint32_t)(PZ_WATCH_TRACE | PZ_WATCH_WRITE_ONLY))
		return -EINVAL;
	if (!s->wp)
		return -EOPNOTSUPP;
	if (find(s, id))
		return -EEXIST;
	if (ours(s, first_page(&w), last_page_end(&w)))
		return -EINVAL;
	if (s->n_watches == PZ_MAX_WATCHES)
		return -ENOSPC;
	error = pz_maps_visit(s->options.pid, first_page(&w), last_page_end(&w), cover_vma, &c);
	if (error)
		return error == -ENOMEM ? -EINVAL : error;
	*ret_pages = (last_page_end(&w) - first_page(&w)) / PZ_PAGE;
	PZ_LOCKED(s);
	s->watch[s->n_watches++] = w;
	error = arm(s, &w);
	if (error) {
		s->n_watches--; /* refused: its number is free */
		disarm(s, &w);
	}
	return error;
}

int pz_watch_delete(struct pz_session *s, uint32_t id)
{
	struct pz_watch *w, old;

	PZ_LOCKED(s);
	w = find(s, id);
	if (!w)
		return -ENOENT;
	old = *w;
	s->n_watches--;
	memmove(w, w + 1, (size_t)(&s->watch[s->n_watches] - w) * sizeof(*w));
	for (int i = 0; i < PZ_MAX_HITS; i++) {
		/* One that is signalled stays: its signal has to be taken. */
		if (s->hit[i].used && !s->hit[i].ready && s->hit[i].head.watch == id) {
			pz_hit_forget_deferral(s, &s->hit[i]);
			pz_hit_clear(&s->hit[i]);
		}
	}
	return disarm(s, &old);
}

int pz_watch_enable(struct pz_session *s, uint32_t id, bool enabled)
{
	struct pz_watch *w;

	PZ_LOCKED(s);
	w = find(s, id);
	if (!w)
		return -ENOENT;
	if (w->enabled == enabled)
		return 0;
	w->enabled = enabled;
	return enabled ? arm(s, w) : disarm(s, w);
}
