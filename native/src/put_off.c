/* Faults that cannot be resolved just now: tried again, or made anew, soon. Lock held. */
#include <string.h>

#include "pagezap/pagezap.h"

#define PUT_OFF_US 1000 /* between two tries */

static void add(struct pz_session *s, struct pz_fault f)
{
	if (!s->n_put_off)
		s->put_off_us = pz_now_us();
	if (s->n_put_off < PZ_MAX_DEFERRED)
		s->put_off[s->n_put_off++] = f;
	else
		pz_uffd_wake(s->uffd, pz_page_down(f.address), PZ_PAGE); /* it faults again */
	pz_fault_wake(s); /* it may be the main thread that could not */
}

/* A fault the kernel refuses to resolve while a mapping changes is tried again. */
int pz_put_off(struct pz_session *s, uint64_t page, uint64_t flags)
{
	add(s, (struct pz_fault){.address = page, .flags = flags});
	return -EAGAIN;
}

/* Has whoever waits for a page fault on it again. */
void pz_fault_again(struct pz_session *s, uint64_t page)
{
	add(s, (struct pz_fault){.address = page, .again = true});
}

/* What was put off is due now. */
void pz_put_off_soon(struct pz_session *s)
{
	if (!s->n_put_off)
		return;
	s->put_off_us = 0;
	pz_fault_wake(s);
}

void pz_put_off_retry(struct pz_session *s)
{
	unsigned int n = s->n_put_off;
	struct pz_fault list[PZ_MAX_DEFERRED];

	if (!n || s->hold || pz_now_us() - s->put_off_us < PUT_OFF_US)
		return;
	s->put_off_us = pz_now_us();
	memcpy(list, s->put_off, n * sizeof(list[0]));
	s->n_put_off = 0;
	for (unsigned int i = 0; i < n; i++) {
		uint64_t page = pz_page_down(list[i].address);

		if (list[i].again) {
			pz_uffd_wake(s->uffd, page, PZ_PAGE);
			continue;
		}
		pz_serve(s, page, list[i].flags & UFFD_PAGEFAULT_FLAG_WP);
		/* A HIDE in between armed it already, and must not have done so in vain. */
		if (pz_watch_covers(s, page))
			pz_rearm_soon(s, page, 0);
	}
}
