/* The store: pages in a memfd that helper and keeper share; read and written, not mapped. */
#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>

#include "pagezap/pagezap.h"

static bool uniform(const uint8_t *page)
{
	return memcmp(page, page + 1, PZ_PAGE - 1) == 0;
}

int pz_store_put(struct pz_session *s, const void *page, uint64_t *ret)
{
	struct pz_free_slots *f = &s->free_slots;
	const uint8_t *bytes = page;
	uint64_t slot;

	if (uniform(bytes)) {
		*ret = bytes[0] ? PZ_SLOT_BYTE | bytes[0] : PZ_SLOT_ZERO;
		return 0;
	}
	slot = f->count ? f->slot[f->count - 1] : s->shared->slots;
	if (pwrite(s->store_fd, page, PZ_PAGE, (off_t)(slot * PZ_PAGE)) != (ssize_t)PZ_PAGE)
		return errno ? -errno : -ENOSPC;
	if (f->count)
		f->count--;
	else
		s->shared->slots++;
	*ret = slot;
	return 0;
}

int pz_store_get(struct pz_session *s, uint64_t slot, void *ret)
{
	ssize_t n;

	if (slot & (PZ_SLOT_ZERO | PZ_SLOT_BYTE)) {
		memset(ret, (slot & PZ_SLOT_BYTE) ? (int)(slot & 0xff) : 0, PZ_PAGE);
		return 0;
	}
	n = pread(s->store_fd, ret, PZ_PAGE, (off_t)(slot * PZ_PAGE));
	if (n == (ssize_t)PZ_PAGE)
		return 0;
	return n < 0 ? -errno : -EIO;
}

void pz_store_free(struct pz_session *s, uint64_t slot)
{
	struct pz_free_slots *f = &s->free_slots;

	if (slot & (PZ_SLOT_ZERO | PZ_SLOT_BYTE))
		return;
	fallocate(s->store_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)(slot * PZ_PAGE),
		  (off_t)PZ_PAGE);
	if (f->count == f->capacity) {
		size_t capacity = f->capacity ? f->capacity * 2 : 1024;
		uint32_t *bigger = realloc(f->slot, capacity * sizeof(*bigger));

		if (!bigger)
			return; /* the slot is not used again; its memory is given back */
		f->slot = bigger;
		f->capacity = capacity;
	}
	f->slot[f->count++] = (uint32_t)slot;
}

uint64_t pz_store_bytes(struct pz_session *s)
{
	return (s->shared->slots - s->free_slots.count) * PZ_PAGE;
}
