/*
 * A forked child gets by copy what the parent's stash and store hold; nothing of ours stays
 * in it. Its faults wait until its descriptor is closed.
 *
 * It runs meanwhile, and may fork, drop, unmap or move memory in its turn: it then waits
 * for its event to be read, and takes no page until that is done.
 */
#include <string.h>

#include "pagezap/pagezap.h"

#define BATCH_PAGES	64
#define NO_MEMORY_TRIES 1000 /* a tenth of a millisecond apart */

/* What the child did to pages of the parent's that it had not got yet, in order. */
struct edit {
	uint64_t start, end;
	bool moved;
	uint64_t to;
};

struct child {
	int fd;
	uint64_t at; /* an address of the parent: the pages before it are done */
	struct edit *edit;
	size_t n_edits;
	bool missing;		/* the last page had no mapping: page by page until one has */
	unsigned int no_memory; /* tries in a row */
	struct child *next;
};

/* Without memory the child waits: what it would find otherwise is zeros. */
static void *patient_realloc(void *old, size_t size)
{
	void *got;

	while (!(got = realloc(old, size)))
		pz_sleep_us(1000);
	return got;
}

static struct child *child_new(int fd, const struct child *parent)
{
	struct child *c = patient_realloc(NULL, sizeof(*c));

	*c = (struct child){.fd = fd};
	if (parent && parent->n_edits) {
		c->edit = patient_realloc(NULL, parent->n_edits * sizeof(*c->edit));
		memcpy(c->edit, parent->edit, parent->n_edits * sizeof(*c->edit));
		c->n_edits = parent->n_edits;
	}
	if (parent)
		c->at = parent->at;
	return c;
}

static void add_edit(struct child *c, struct edit e)
{
	c->edit = patient_realloc(c->edit, (c->n_edits + 1) * sizeof(*c->edit));
	c->edit[c->n_edits++] = e;
}

/* Where the child has a page of the parent's; false where it has dropped it. */
static bool place(const struct child *c, uint64_t *page)
{
	for (size_t i = 0; i < c->n_edits; i++) {
		const struct edit *e = &c->edit[i];

		if (*page < e->start || *page >= e->end)
			continue;
		if (!e->moved)
			return false;
		*page += e->to - e->start;
	}
	return true;
}

/* Reads what the child waits for. A fault needs no answer: the page comes, or the close. */
static bool take_events(struct pz_session *s, struct child *c)
{
	struct uffd_msg m;
	bool any = false;

	while (read(c->fd, &m, sizeof(m)) == (ssize_t)sizeof(m)) {
		struct child *grandchild;

		switch (m.event) {
		case UFFD_EVENT_FORK:
			s->count.forks++;
			grandchild = child_new((int)m.arg.fork.ufd, c);
			grandchild->next = c->next;
			c->next = grandchild;
			any = true;
			break;
		case UFFD_EVENT_REMOVE:
		case UFFD_EVENT_UNMAP:
			add_edit(c, (struct edit){.start = m.arg.remove.start,
						  .end = m.arg.remove.end});
			any = true;
			break;
		case UFFD_EVENT_REMAP:
			add_edit(c, (struct edit){.start = m.arg.remap.from,
						  .end = m.arg.remap.from + m.arg.remap.len,
						  .moved = true,
						  .to = m.arg.remap.to});
			any = true;
			break;
		default:
			break;
		}
	}
	return any;
}

/* One call's worth of pages, read at `from` and given at `to`; how many, or -errno. */
static int64_t give(struct pz_session *s, const struct child *c, struct pz_region *r, uint64_t from,
		    uint64_t to, uint64_t pages)
{
	uint64_t ready = 0, copied = 0;
	int error;

	while (ready < pages &&
	       !pz_content_read(s, r, from + ready * PZ_PAGE, s->page_buffer + ready * PZ_PAGE))
		ready++;
	if (ready) {
		error = pz_uffd_copy(c->fd, to, s->page_buffer, ready * PZ_PAGE, false, &copied);
		return copied ? (int64_t)(copied / PZ_PAGE) : error;
	}
	/* What cannot be read must not be zeros in the child: its access fails. */
	if (!(s->features & PZ_FEATURE_POISON))
		return 1;
	error = pz_uffd_poison(c->fd, to, PZ_PAGE);
	return error ? error : 1;
}

static uint64_t kept_run(struct pz_session *s, const struct pz_region *r, uint64_t a)
{
	uint64_t n = 0;

	while (n < BATCH_PAGES && a + n * PZ_PAGE < r->end &&
	       pz_entry_kept(*pz_entry(s, r, a + n * PZ_PAGE)))
		n++;
	return n;
}

static void fill_child(struct pz_session *s, struct child *c)
{
	struct pz_region *r;

	while ((r = pz_region_next(s, c->at))) {
		uint64_t n, to;
		int64_t given;

		c->at = pz_max(c->at, r->start);
		if (!(r->modes & UFFDIO_REGISTER_MODE_MISSING)) {
			c->at = r->end;
			continue;
		}
		n = kept_run(s, r, c->at);
		to = c->at;
		if (!n || !place(c, &to)) {
			c->at += PZ_PAGE;
			continue;
		}
		given = give(s, c, r, c->at, to, c->n_edits || c->missing ? 1 : n);
		if (given == -ENOMEM && c->no_memory++ >= NO_MEMORY_TRIES)
			given = pz_uffd_poison(c->fd, to, PZ_PAGE); /* no zeros */
		if (given > 0) {
			c->no_memory = 0;
			c->at += (uint64_t)given * PZ_PAGE;
		} else if (given == -ESRCH) {
			return; /* it is gone */
		} else if (given != -EAGAIN && given != -ENOMEM) {
			c->at += PZ_PAGE; /* it has the page, or no such mapping */
		} else if (!take_events(s, c)) {
			pz_sleep_us(100);
		}
		c->missing = given == -ENOENT;
	}
}

void pz_fork(struct pz_session *s, int child)
{
	struct child *c = child_new(child, NULL);

	s->count.forks++;
	while (c) {
		struct child *done = c;

		fill_child(s, c);
		c = c->next;
		close(done->fd);
		free(done->edit);
		free(done);
	}
}
