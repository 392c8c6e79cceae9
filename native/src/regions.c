/* The table of registered ranges: sorted, disjoint, split and rekeyed as the program maps. */
#include "pagezap/pagezap.h"

#define SPARE (PZ_MAX_REGIONS / 2) /* for what events split: no command may use them up */

static int insert(struct pz_session *s, const struct pz_region *new)
{
	struct pz_region *slot = pz_slot_new(s);

	if (!slot)
		return -ENOSPC;
	pz_order_add(s, pz_slot_fill(s, slot, new));
	return 0;
}

/* The sum of all places ever used, or the first gap; what is given back there is zeros. */
static int entries_reserve(struct pz_session *s, uint64_t pages, uint64_t *ret)
{
	uint64_t at = 0;
	bool moved;

	pz_for_each_region (s, r)
		at = pz_max(at, r->entry + (r->end - r->start) / PZ_PAGE);
	if (at + pages > PZ_LEDGER_ENTRIES)
		at = 0;
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
	struct pz_region *r = pz_region_find(s, address), *slot;
	struct pz_region high;
	uint64_t offset;

	if (!r || r->start == address)
		return 0;
	slot = pz_slot_new(s);
	if (!slot)
		return -ENOSPC;
	offset = address - r->start;
	high = *r;
	high.start = address;
	high.entry += offset / PZ_PAGE;
	if (high.stash)
		high.stash += offset;
	pz_slot_fill(s, slot, &high);
	__atomic_store_n(&r->end, address, __ATOMIC_RELEASE);
	pz_order_add(s, slot);
	return 0;
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

		if (s->n_regions + s->n_garbage >= PZ_MAX_REGIONS - SPARE)
			return -ENOSPC;
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

/* The region's memory has gone, or nothing of it is held: what it has of ours is left to free. */
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
	pz_order_drop(s, r);
	pz_slot_discard(s, r);
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
	int error;

	/* Covered by us between the move and its event: nothing was taken there yet. */
	pz_region_remove(s, to, to + length);
	error = pz_region_split(s, from);
	if (!error)
		error = pz_region_split(s, from + length);
	if (error)
		return error;
	while ((r = pz_region_next(s, from)) && r->start < from + length) {
		struct pz_region moved = *r, *slot = pz_slot_new(s);

		if (!slot)
			return -ENOSPC;
		moved.start = to + (r->start - from);
		moved.end = to + (r->end - from);
		pz_slot_fill(s, slot, &moved);
		pz_order_drop(s, r);
		pz_slot_free(s, r);
		pz_order_add(s, slot);
	}
	return 0;
}
