/*
 * Where the regions stand: in slots that the keeper sees too, in any order. Each change takes
 * effect by one store: a helper that is killed amid it leaves the table as before, as after, or
 * with two regions of the same ledger entries, of which the newer counts. The order by address is
 * the helper's alone.
 */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define pz_for_each_slot(s, r)                                                                     \
	for (struct pz_region *r = (s)->shared->slot;                                              \
	     r < (s)->shared->slot + (s)->shared->n_slots; r++)

/* The place in the order of the first region that ends after the address. */
static unsigned int place_of(struct pz_session *s, uint64_t address)
{
	unsigned int low = 0, high = s->n_regions;

	while (low < high) {
		unsigned int middle = (low + high) / 2;

		if (s->order[middle]->end <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* The first region that ends after the address. */
struct pz_region *pz_region_next(struct pz_session *s, uint64_t address)
{
	unsigned int at = place_of(s, address);

	return at < s->n_regions ? s->order[at] : NULL;
}

struct pz_region *pz_region_find(struct pz_session *s, uint64_t address)
{
	struct pz_region *r = pz_region_next(s, address);

	return r && r->start <= address ? r : NULL;
}

static void set_kind(struct pz_region *r, enum pz_region_kind kind)
{
	__atomic_store_n(&r->kind, kind, __ATOMIC_RELEASE);
}

void pz_slot_free(struct pz_session *s, struct pz_region *r)
{
	set_kind(r, PZ_REGION_FREE);
	r->next_free = s->free_region;
	s->free_region = r;
}

struct pz_region *pz_slot_new(struct pz_session *s)
{
	struct pz_region *r = s->free_region;

	if (r)
		s->free_region = r->next_free;
	else if (s->shared->n_slots < PZ_MAX_REGIONS)
		r = &s->shared->slot[s->shared->n_slots++];
	return r;
}

void pz_order_add(struct pz_session *s, struct pz_region *r)
{
	unsigned int at = place_of(s, r->start);

	memmove(&s->order[at + 1], &s->order[at], (s->n_regions - at) * sizeof(void *));
	s->order[at] = r;
	s->n_regions++;
}

void pz_order_drop(struct pz_session *s, const struct pz_region *r)
{
	unsigned int at = place_of(s, r->start);

	s->n_regions--;
	memmove(&s->order[at], &s->order[at + 1], (s->n_regions - at) * sizeof(void *));
}

/* A region that counts from here on; it is in no order yet. */
struct pz_region *pz_slot_fill(struct pz_session *s, struct pz_region *slot,
			       const struct pz_region *new)
{
	*slot = *new;
	slot->kind = PZ_REGION_FREE;
	slot->generation = ++s->shared->generation;
	set_kind(slot, PZ_REGION_USED);
	return slot;
}

/* The region has gone; its stash is still to be freed. It is in no order any more. */
void pz_slot_discard(struct pz_session *s, struct pz_region *r)
{
	if (!r->stash) {
		pz_slot_free(s, r);
		return;
	}
	set_kind(r, PZ_REGION_GARBAGE);
	s->n_garbage++;
}

/* Whether a range has memory of ours in it: a stash, the code, or the command page. */
bool pz_region_ours(struct pz_session *s, uint64_t start, uint64_t end)
{
	const struct pz_options *o = &s->options;

	if ((start < o->code + o->code_length && end > o->code) ||
	    (start < o->mailbox + PZ_PAGE && end > o->mailbox))
		return true;
	pz_for_each_slot(s, r)
	{
		if (r->kind != PZ_REGION_FREE && r->stash &&
		    start < r->stash + (r->end - r->start) && end > r->stash)
			return true;
	}
	return false;
}

/* Frees the stash areas of regions that have gone. */
void pz_free_garbage(struct pz_session *s)
{
	uint32_t i = 0;

	for (;;) {
		struct pz_region *r;
		uint64_t end;
		uint32_t stop;

		PZ_LOCKED(s);
		while (i < s->shared->n_slots && s->shared->slot[i].kind != PZ_REGION_GARBAGE)
			i++;
		if (i == s->shared->n_slots)
			return;
		r = &s->shared->slot[i];
		end = r->stash + (r->end - r->start);
		/* Neighbours go together: what was mapped as one lies so as a rule. */
		for (stop = i + 1; stop < s->shared->n_slots; stop++) {
			const struct pz_region *more = &s->shared->slot[stop];

			if (more->kind != PZ_REGION_GARBAGE || more->stash != end)
				break;
			end += more->end - more->start;
		}
		pz_agent_unmap(s, r->stash, end - r->stash);
		for (; i < stop; i++, s->n_garbage--)
			pz_slot_free(s, &s->shared->slot[i]);
	}
}

/* Two regions of the same entries: the helper was killed between the stores of a change. */
static void settle_pair(struct pz_session *s, struct pz_region *a, struct pz_region *b)
{
	struct pz_region *old = a->generation < b->generation ? a : b, *new = old == a ? b : a;

	if (new->entry == old->entry)
		pz_slot_free(s, old); /* moved */
	else
		old->end = new->start; /* split */
}

/* The agent's last call has freed its stash, or is about to. */
static bool unmapped_last(struct pz_session *s, const struct pz_region *r)
{
	const volatile struct pz_mailbox *m = s->mailbox;
	uint64_t start = (uint64_t)m->argument[0], length = (uint64_t)m->argument[1];

	return r->kind == PZ_REGION_GARBAGE && m->number == SYS_munmap && start <= r->stash &&
	       r->stash < start + length;
}

static int by_entry(const void *a, const void *b)
{
	const struct pz_region *const *left = a, *const *right = b;

	return ((*left)->entry > (*right)->entry) - ((*left)->entry < (*right)->entry);
}

/* Recovery: puts the regions of a killed helper in order. */
void pz_region_recover(struct pz_session *s)
{
	unsigned int n = 0;

	s->n_regions = s->n_garbage = 0;
	s->free_region = NULL;
	pz_for_each_slot(s, r)
	{
		if (r->kind == PZ_REGION_USED)
			s->order[n++] = r;
		else if (unmapped_last(s, r))
			pz_slot_free(s, r);
		else if (r->kind == PZ_REGION_GARBAGE)
			s->n_garbage++;
	}
	qsort(s->order, n, sizeof(void *), by_entry);
	for (unsigned int i = 1; i < n; i++) {
		const struct pz_region *r = s->order[i - 1];

		if (r->entry + (r->end - r->start) / PZ_PAGE > s->order[i]->entry)
			settle_pair(s, s->order[i - 1], s->order[i]);
	}
	pz_for_each_slot(s, r)
	{
		if (r->kind == PZ_REGION_USED)
			pz_order_add(s, r);
	}
}

int pz_region_init(struct pz_session *s)
{
	s->order = mmap(NULL, PZ_MAX_REGIONS * sizeof(void *), PROT_READ | PROT_WRITE,
			MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (s->order == MAP_FAILED) {
		s->order = NULL;
		return -errno;
	}
	return 0;
}

void pz_region_deinit(struct pz_session *s)
{
	if (s->order)
		munmap(s->order, PZ_MAX_REGIONS * sizeof(void *));
}
