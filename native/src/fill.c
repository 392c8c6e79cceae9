/* Contents that wait in an empty page. */
#include <string.h>

#include "pagezap/pagezap.h"

#define BATCH_PAGES 64
#define PATIENCE    2000 /* while a mapping changes */
enum fill_kind { FILL_ZERO, FILL_BYTE, FILL_FILE };

struct filling {
	struct pz_session *s;
	uint32_t kind;
	uint32_t byte;
	int fd;
	uint64_t offset; /* of the file, less the range's start */
	uint64_t start;
	uint64_t dropped;
	uint8_t *content; /* of a batch, read before the lock is taken: a file may be slow */
};

/* The pages' content by the file, zeros beyond its end. */
static int read_content(const struct filling *f, uint64_t start, uint64_t end)
{
	size_t size = end - start, done = 0;

	while (done < size) {
		ssize_t n = pread(f->fd, f->content + done, size - done,
				  (off_t)(f->offset + (start - f->start) + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		done += (size_t)n;
	}
	memset(f->content + done, 0, size - done);
	return 0;
}

/* Nothing is filled where the file cannot be read to the end. */
static int check_content(const struct filling *f, uint64_t end)
{
	int error = 0;

	for (uint64_t a = f->start; !error && a < end; a += BATCH_PAGES * PZ_PAGE)
		error = read_content(f, a, pz_min(end, a + BATCH_PAGES * PZ_PAGE));
	return error;
}

static int fill_slot(const struct filling *f, const uint8_t *content, uint64_t *ret)
{
	switch (f->kind) {
	case FILL_ZERO:
		*ret = PZ_SLOT_ZERO;
		return 0;
	case FILL_BYTE:
		*ret = f->byte ? PZ_SLOT_BYTE | f->byte : PZ_SLOT_ZERO;
		return 0;
	default:
		return pz_store_put(f->s, content, ret);
	}
}

/* The ledger first: an access right after the zap finds the content. Lock held. */
static int fill_batch(struct filling *f, struct pz_region *r, uint64_t start, uint64_t end)
{
	struct pz_session *s = f->s;
	uint64_t pagemap[BATCH_PAGES], slot[BATCH_PAGES], pages = (end - start) / PZ_PAGE, left;
	int error = pz_pagemap_read(s, start, pages, pagemap);

	/* Answers -EAGAIN where a mapping changes just now, and it is not known which. */
	if (!error && pz_uffd_protect(s->uffd, start, end - start, false, false) == -EAGAIN)
		return -EAGAIN;

	for (uint64_t i = 0; !error && i < pages; i++) {
		error = fill_slot(f, f->content + i * PZ_PAGE, &slot[i]);
		while (error && i--)
			pz_store_free(s, slot[i]);
	}
	if (error)
		return error;
	for (uint64_t i = 0; i < pages; i++) {
		uint64_t *e = pz_entry(s, r, start + i * PZ_PAGE);

		f->dropped += pz_pagemap_populated(pagemap[i]) || pz_entry_kept(*e);
		pz_entry_drop(s, e, PZ_NONE);
		pz_entry_set(s, e,
			     (*e & PZ_LEFTOVER) | PZ_FILL | PZ_MOVING | slot[i] << PZ_SLOT_SHIFT);
	}
	error = pz_zap_held(s, r, start, end, &left);
	return !error && left ? -EAGAIN : error;
}

static int fill_vma(void *context, const struct pz_vma *v)
{
	struct filling *f = context;
	struct pz_session *s = f->s;
	unsigned int patience = PATIENCE;
	int error = pz_cover_kept(s, v);

	for (uint64_t a = v->start; !error && a < v->end;) {
		uint64_t end = pz_min(v->end, a + BATCH_PAGES * PZ_PAGE);
		struct pz_region *r;

		pz_main_pause(s);
		if (f->kind == FILL_FILE)
			error = read_content(f, a, end);
		if (error)
			break;
		PZ_LOCKED(s);
		r = pz_region_find(s, a);
		if (r) {
			end = pz_min(end, r->end);
			error = fill_batch(f, r, a, end);
		}
		if (error == -EAGAIN && patience--) {
			error = 0;
			pz_lock_give_up(s, 100);
			continue;
		}
		a = end;
	}
	return error;
}

int pz_fill(struct pz_session *s, uint64_t start, uint64_t length, uint32_t kind, uint32_t byte,
	    int fd, uint64_t offset, uint64_t *ret_pages, uint64_t *ret_dropped)
{
	pz_autofree uint8_t *content = malloc(BATCH_PAGES * PZ_PAGE);
	struct filling f = {.s = s,
			    .kind = kind,
			    .byte = byte,
			    .fd = fd,
			    .offset = offset,
			    .start = start,
			    .content = content};
	int error;

	if (kind > FILL_FILE || byte > 255 || (kind == FILL_FILE) != (fd >= 0))
		return -EINVAL;
	if (!content)
		return -ENOMEM;
	error = pz_maps_check_anonymous(s, start, start + length);
	if (!error && kind == FILL_FILE)
		error = check_content(&f, start + length);
	if (!error)
		error = pz_maps_visit(s->options.pid, start, start + length, fill_vma, &f);
	*ret_pages = length / PZ_PAGE;
	*ret_dropped = f.dropped;
	return error;
}
