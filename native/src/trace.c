/* The ring of recorded accesses. */
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

int pz_trace_init(struct pz_session *s)
{
	struct pz_trace *t = &s->trace;
	void *ring;

	t->capacity = s->options.ring ? s->options.ring : 32768;
	ring = mmap(NULL, t->capacity * sizeof(*t->ring), PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (ring == MAP_FAILED)
		return -errno;
	t->ring = ring;
	return 0;
}

void pz_trace_deinit(struct pz_session *s)
{
	if (s->trace.ring)
		munmap(s->trace.ring, s->trace.capacity * sizeof(*s->trace.ring));
	s->trace.ring = NULL;
}

void pz_trace_add(struct pz_session *s, const struct pz_event *e)
{
	struct pz_trace *t = &s->trace;

	t->ring[t->next % t->capacity] = *e;
	t->next++;
}

uint32_t pz_trace_read(struct pz_session *s, uint64_t first, uint32_t max, struct pz_event *ret,
		       uint64_t *ret_next, uint64_t *ret_dropped)
{
	struct pz_trace *t = &s->trace;
	uint64_t oldest = t->next > t->capacity ? t->next - t->capacity : 0;
	uint64_t wanted = pz_max(first, t->first);
	uint64_t at = pz_max(wanted, oldest);
	uint32_t n = 0;

	*ret_dropped = at - wanted;
	while (at < t->next && n < max)
		ret[n++] = t->ring[at++ % t->capacity];
	*ret_next = at;
	return n;
}

void pz_trace_clear(struct pz_session *s)
{
	s->trace.first = s->trace.next;
}
