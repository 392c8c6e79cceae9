/* The table of registered ranges: sorted, disjoint, split and rekeyed as the program maps. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

/* The first region that ends after the address. */
struct pz_region *pz_region_next(struct pz_session *s, uint64_t address)
{
	struct pz_region *table = s->shared->regions;
	unsigned int low = 0, high = s->shared->n_regions;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (table[middle].end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low < s->shared->n_regions ? &table[low] : NULL;
}

struct pz_region *pz_region_find(struct pz_session *s, uint64_t address)
{
	struct pz_region *r = pz_region_next(s, address);

	return r && r->start <= address ? r : NULL;
}

static int insert(struct pz_session *s, const struct pz_region *new)
{
	struct pz_shared *shared = s->shared;
	struct pz_region *at = pz_region_next(s, new->start);
	size_t index = at ? (size_t)(at - shared->regions) : shared->n_regions;

	if (shared->n_regions == PZ_MAX_REGIONS)
		return -ENOSPC;
	memmove(&shared->regions[index + 1], &shared->regions[index],
		(shared->n_regions - index) * sizeof(*new));
	shared->regions[index] = *new;
	shared->n_regions++;
	return 0;
}

static void erase(struct pz_session *s, struct pz_region *r)
{
	struct pz_shared *shared = s->shared;
	size_t index = (size_t)(r - shared->regions);

	shared->n_regions--;
	memmove(r, r + 1, (shared->n_regions - index) * sizeof(*r));
}

/* First fit in the ledger; a used stretch is given back as zeros by region_remove. */
static int entries_reserve(struct pz_session *s, uint64_t pages, uint64_t *ret)
{
	uint64_t at = 0;
	bool moved;

	do {
		moved = false;
		pz_for_each_region (s, r) {
			uint64_t n = (r->end - r->start) / PZ_PAGE;

			if (at < r->entry + n && at + pages > r->entry) {
				at = r->entry + n;
				moved = true;
			}
		}
	} while (moved);
	if (at + pages > PZ_LEDGER_ENTRIES)
		return -ENOSPC;
	*ret = at;
	return 0;
}

int pz_region_split(struct pz_session *s, uint64_t address)
{
	struct pz_region *r = pz_region_find(s, address);
	struct pz_region high;
	uint64_t offset;

	if (!r || r->start == address)
		return 0;
	offset = address - r->start;
	high = *r;
	high.start = address;
	high.entry += offset / PZ_PAGE;
	if (high.stash)
		high.stash += offset;
	if (s->shared->n_regions == PZ_MAX_REGIONS)
		return -ENOSPC;
	r->end = address;
	return insert(s, &high);
}

static int region_register(struct pz_session *s, uint64_t start, uint64_t end, uint64_t modes)
{
	return pz_uffd_register(s->uffd, start, end - start, modes);
}

/* Makes [start, end) consist of regions that are registered with these modes at least. */
int pz_region_cover(struct pz_session *s, uint64_t start, uint64_t end, uint64_t modes)
{
	uint64_t at = start;
	int error;

	while (at < end) {
		struct pz_region *r = pz_region_next(s, at);

		if (!r || r->start > at) {
			struct pz_region new = {.start = at,
						.end = r ? pz_min(r->start, end) : end,
						.modes = modes};

			error = entries_reserve(s, (new.end - new.start) / PZ_PAGE, &new.entry);
			if (error)
				return error;
			error = region_register(s, new.start, new.end, modes);
			if (error)
				return error;
			error = insert(s, &new);
			if (error)
				return error;
			at = new.end;
			continue;
		}
		if ((r->modes & modes) != modes) {
			uint64_t stop = pz_min(r->end, end);

			error = pz_region_split(s, at);
			if (!error)
				error = pz_region_split(s, stop);
			if (error)
				return error;
			r = pz_region_find(s, at);
			error = region_register(s, r->start, r->end, r->modes | modes);
			if (error)
				return error;
			r->modes |= modes;
		}
		at = r->end;
	}
	return 0;
}

static void garbage_add(struct pz_session *s, uint64_t start, uint64_t length)
{
	struct pz_shared *shared = s->shared;

	struct pz_span *last = &shared->garbage[shared->n_garbage ? shared->n_garbage - 1 : 0];

	/* Neighbours are freed together; areas that follow each other lie so as a rule. */
	if (shared->n_garbage && last->start + last->length == start)
		last->length += length;
	else if (shared->n_garbage && start + length == last->start)
		*last = (struct pz_span){start, last->length + length};
	else if (shared->n_garbage < PZ_MAX_GARBAGE)
		shared->garbage[shared->n_garbage++] = (struct pz_span){start, length};
}

static void forget(struct pz_session *s, struct pz_region *r)
{
	if (r->modes & UFFDIO_REGISTER_MODE_MISSING) {
		for (uint64_t a = r->start; a < r->end; a += PZ_PAGE) {
			uint64_t *e = pz_entry(s, r, a);

			if (*e) {
				pz_entry_drop(s, e, PZ_NONE);
				pz_entry_set(s, e, 0);
			}
		}
	}
	if (r->stash)
		garbage_add(s, r->stash, r->end - r->start);
	erase(s, r);
}

/* What is held of [start, end): its pages have gone, to read as `state` from here on. */
void pz_region_drop(struct pz_session *s, uint64_t start, uint64_t end, enum pz_state state)
{
	pz_for_each_region (s, r) {
		uint64_t stop = pz_min(end, r->end);

		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING))
			continue;
		for (uint64_t a = pz_max(start, r->start); a < stop; a += PZ_PAGE)
			pz_entry_drop(s, pz_entry(s, r, a), state);
	}
}

/* The program unmapped [start, end), or it is released. */
int pz_region_remove(struct pz_session *s, uint64_t start, uint64_t end)
{
	struct pz_region *r;
	int error = pz_region_split(s, start);

	if (!error)
		error = pz_region_split(s, end);
	if (error) {
		pz_region_drop(s, start, end, PZ_NONE); /* no place left to split */
		return error;
	}
	while ((r = pz_region_next(s, start)) && r->start < end)
		forget(s, r);
	return 0;
}

/* mremap(2) moved [from, from + length) to `to`: the stash and the entries go along. */
int pz_region_rekey(struct pz_session *s, uint64_t from, uint64_t to, uint64_t length)
{
	struct pz_region *r;
	int error = pz_region_split(s, from);

	if (!error)
		error = pz_region_split(s, from + length);
	if (error)
		return error;
	while ((r = pz_region_next(s, from)) && r->start < from + length) {
		struct pz_region moved = *r;

		moved.start = to + (r->start - from);
		moved.end = to + (r->end - from);
		erase(s, r);
		error = insert(s, &moved);
		if (error)
			return error;
		/* Overlapping moves do not exist: mremap refuses them. */
	}
	return 0;
}
