/* Contents that wait in an empty page, and advice in the inferior's mm. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define BATCH_PAGES 512
enum fill_kind { FILL_ZERO, FILL_BYTE, FILL_FILE };

struct filling {
	struct pz_session *s;
	uint32_t kind;
	uint32_t byte;
	int fd;
	uint64_t offset; /* of the file, less the range's start */
	uint64_t start;
	uint64_t dropped;
};

static int fill_slot(const struct filling *f, uint64_t address, uint64_t *ret)
{
	uint8_t *page = f->s->main_buffer;
	size_t done = 0;

	if (f->kind == FILL_ZERO || (f->kind == FILL_BYTE && !f->byte)) {
		*ret = PZ_SLOT_ZERO;
		return 0;
	}
	if (f->kind == FILL_BYTE) {
		*ret = PZ_SLOT_BYTE | f->byte;
		return 0;
	}
	memset(page, 0, PZ_PAGE);
	while (done < PZ_PAGE) {
		ssize_t n = pread(f->fd, page + done, PZ_PAGE - done,
				  (off_t)(f->offset + (address - f->start) + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	return pz_store_put(f->s, page, ret);
}

/* The ledger first: an access right after the zap finds the content. Lock held. */
static int fill_entries(struct filling *f, struct pz_region *r, uint64_t start, uint64_t end)
{
	struct pz_session *s = f->s;
	uint64_t pagemap[BATCH_PAGES];
	int error = pz_pagemap_read(s, start, (end - start) / PZ_PAGE, pagemap);

	for (uint64_t a = start; !error && a < end; a += PZ_PAGE) {
		uint64_t *e = pz_entry(s, r, a), slot;
		bool populated = pz_pagemap_populated(pagemap[(a - start) / PZ_PAGE]);

		error = fill_slot(f, a, &slot);
		if (error)
			break;
		if (populated || pz_entry_kept(*e))
			f->dropped++;
		pz_entry_drop(s, e, PZ_NONE);
		pz_entry_set(s, e, (*e & PZ_LEFTOVER) | PZ_FILL | slot << PZ_SLOT_SHIFT);
	}
	return error;
}

static void own_zap(struct pz_session *s, uint64_t start, uint64_t length, enum pz_state state)
{
	PZ_LOCKED(s);
	s->shared->own_zap = (struct pz_span){start, length};
	s->shared->own_zap_state = state;
}

/*
 * Drops pages whose content the ledger holds. The event that it raises is read by the fault
 * thread, so the lock is not held here; it is told from a zap of the program's own.
 */
int pz_zap_held(struct pz_session *s, uint64_t start, uint64_t length, enum pz_state state)
{
	int error;

	own_zap(s, start, length, state);
	error = pz_agent_drop(s, start, length);
	own_zap(s, 0, 0, PZ_NONE);
	return error;
}

static int fill_vma(void *context, const struct pz_vma *v)
{
	struct filling *f = context;
	struct pz_session *s = f->s;
	uint64_t modes = UFFDIO_REGISTER_MODE_MISSING | (s->wp ? UFFDIO_REGISTER_MODE_WP : 0);
	int error;

	{
		PZ_LOCKED(s);
		error = pz_region_cover(s, v->start, v->end, modes);
	}
	for (uint64_t a = v->start; !error && a < v->end;) {
		uint64_t end = a;

		{
			PZ_LOCKED(s);
			struct pz_region *r = pz_region_find(s, a);

			if (r) {
				end = pz_min(pz_min(v->end, r->end), a + BATCH_PAGES * PZ_PAGE);
				error = fill_entries(f, r, a, end);
			}
		}
		if (!error && end > a)
			error = pz_zap_held(s, a, end - a, PZ_FILL);
		a = end > a ? end : a + PZ_PAGE;
		pz_main_pause(s);
	}
	return error;
}

int pz_fill(struct pz_session *s, uint64_t start, uint64_t length, uint32_t kind, uint32_t byte,
	    int fd, uint64_t offset, uint64_t *ret_pages, uint64_t *ret_dropped)
{
	struct filling f = {
		.s = s, .kind = kind, .byte = byte, .fd = fd, .offset = offset, .start = start};
	int error;

	if (kind > FILL_FILE || byte > 255 || (kind == FILL_FILE) != (fd >= 0))
		return -EINVAL;
	error = pz_maps_check_anonymous(s, start, start + length);
	if (!error)
		error = pz_maps_visit(s->options.pid, start, start + length, fill_vma, &f);
	*ret_pages = length / PZ_PAGE;
	*ret_dropped = f.dropped;
	return error;
}

int pz_advise(struct pz_session *s, uint64_t start, uint64_t length, int advice, int64_t *ret)
{
	own_zap(s, start, length, PZ_ZAPPED);
	*ret = pz_agent_syscall(s, SYS_madvise, start, length, (uint64_t)advice);
	own_zap(s, 0, 0, PZ_NONE);
	return 0;
}
