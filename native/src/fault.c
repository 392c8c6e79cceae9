/* The fault thread: reads the userfaultfd, decides, resolves or stops. */
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include "pagezap/pagezap.h"

#define STACK_SIZE (256 * 1024)

static void wake(int fd)
{
	uint64_t one = 1;

	if (write(fd, &one, sizeof(one)) < 0)
		return; /* full: it is awake */
}

void pz_kick(struct pz_session *s)
{
	wake(s->kick_fd);
}

static bool is_wp(const struct pz_fault *f)
{
	return f->flags & UFFD_PAGEFAULT_FLAG_WP;
}

static bool is_write(const struct pz_fault *f)
{
	return f->flags & (UFFD_PAGEFAULT_FLAG_WP | UFFD_PAGEFAULT_FLAG_WRITE);
}

static void open_page(struct pz_session *s, uint64_t page, bool wp, bool write, bool mark)
{
	if (wp)
		pz_serve_wp(s, page);
	else
		pz_serve_missing(s, page, !write, mark);
}

static void step_fault(struct pz_session *s, uint64_t page, bool wp)
{
	if (s->n_step_pages < PZ_MAX_STEP)
		s->step_page[s->n_step_pages++] = page;
	else
		s->opened.overflow = true;
	open_page(s, page, wp, true, true);
}

/* The address where a watch's own bytes on this page end. */
static uint64_t watched_end(const struct pz_watch *w, uint64_t page)
{
	return pz_min(w->start + w->length, page + PZ_PAGE);
}

static void keep_old(struct pz_session *s, struct pz_hit *h, uint64_t page, uint64_t from,
		     uint64_t end)
{
	struct pz_region *r = pz_region_find(s, page);

	if (!h->old)
		h->old = malloc(PZ_PAGE);
	if (!h->old || !r || pz_content_read(s, r, page, s->page_buffer))
		return;
	memcpy(h->old, s->page_buffer + (from - page), end - from);
	h->content_address = from;
	h->content_length = end - from;
}

static void record(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
		   const char *line, enum pz_by by)
{
	struct pz_hit_head h = {
		.watch = w->id,
		.tid = (uint32_t)f->tid,
		.flags = is_write(f) ? PZ_HIT_WRITE : 0,
		.syscall = line ? atoi(line) : -1,
		.address = f->address,
		.time_us = pz_now_us(),
	};

	if (line)
		h.pc = pz_line_pc(line);
	pz_hit_record(s, &h, by);
}

/* The hit of the call that the thread is in, where it touched a watch before. */
static struct pz_hit *hit_of_call(struct pz_session *s, pid_t tid, const char *line, uint64_t page)
{
	struct pz_hit *h = pz_hit_of(s, tid);

	if (!h || !(h->head.flags & PZ_HIT_KERNEL))
		return NULL;
	if (!strcmp(h->line, line))
		return h;
	/* Its name was not known at the first of its faults; the page has been open since, so
	 * that this one was made before. */
	if (pz_line_unknown(h->line) && pz_page_down(h->head.address) == page) {
		snprintf(h->line, sizeof(h->line), "%s", line);
		h->head.syscall = atoi(line);
		h->head.pc = pz_line_pc(line);
		return h;
	}
	return NULL;
}

static struct pz_hit *begin_call(struct pz_session *s, const struct pz_fault *f,
				 const struct pz_watch *w, bool exact, const char *line)
{
	bool wp = is_wp(f), write = is_write(f);
	struct pz_hit *h = pz_hit_of(s, f->tid);

	if (h && !(h->head.flags & PZ_HIT_KERNEL))
		pz_hit_clear(h); /* an access that a signal handler came before: it faults again */
	pz_hit_earlier_calls(s, f->tid, line);
	h = pz_hit_new(s);
	if (!h)
		return NULL;
	h->exact = exact;
	h->head = (struct pz_hit_head){
		.watch = w->id,
		.tid = (uint32_t)f->tid,
		.flags = PZ_HIT_KERNEL | (write ? PZ_HIT_WRITE : 0) | (wp ? 0 : PZ_HIT_MISSING),
		.syscall = atoi(line),
		.address = exact ? f->address : pz_max(f->address, w->start),
		.time_us = pz_now_us(),
		.syscall_count = 1,
	};
	snprintf(h->line, sizeof(h->line), "%s", line);
	h->head.pc = pz_line_pc(line);
	return h;
}

/* Has the call of this line a hit of this watch already? */
static bool has_hit(struct pz_session *s, pid_t tid, const char *line, uint32_t watch)
{
	for (int i = 0; i < PZ_MAX_HITS; i++) {
		const struct pz_hit *h = &s->hit[i];

		if (h->used && (h->head.flags & PZ_HIT_KERNEL) && h->head.tid == (uint32_t)tid &&
		    h->head.watch == watch && !strcmp(h->line, line))
			return true;
	}
	return false;
}

/* A call that was hit writes to another watch as well: told of after the first, at its end. */
static void hit_another(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
			const struct pz_hit *first)
{
	uint64_t page = pz_page_down(f->address);
	struct pz_hit *h = pz_hit_new(s);

	if (!h) {
		record(s, f, w, first->line, PZ_BY_INFERIOR);
		return;
	}
	h->exact = true;
	h->ready = first->ready;
	h->deferred = first->deferred;
	s->n_deferred_hits += h->deferred;
	s->count.hits += h->ready;
	h->head = first->head;
	h->head.watch = w->id;
	h->head.address = f->address;
	h->head.time_us = pz_now_us();
	h->head.syscall_count = 1;
	snprintf(h->line, sizeof(h->line), "%s", first->line);
	keep_old(s, h, page, f->address, watched_end(w, page));
}

static void kernel_stop(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
			bool exact, const char *line)
{
	uint64_t page = pz_page_down(f->address);
	bool wp = is_wp(f), write = is_write(f);
	uint64_t from = pz_max(f->address, w->start);
	struct pz_hit *h = hit_of_call(s, f->tid, line, page);
	bool again = h;

	if (again) {
		h->head.syscall_count++;
		if (exact && !h->exact) { /* the first fault of the call that is one */
			h->exact = true;
			h->head.watch = w->id;
			h->head.address = f->address;
			keep_old(s, h, page, from, watched_end(w, page));
		}
	} else {
		h = begin_call(s, f, w, exact, line);
		if (h && from < watched_end(w, page))
			keep_old(s, h, page, from, watched_end(w, page));
	}
	if (!h) {
		record(s, f, w, line, PZ_BY_INFERIOR); /* no place left to stop for it */
		exact = false;
	} else if (!again && exact && (pz_line_signalled(line) || pz_call_stops_at_end(s, line))) {
		/* Before the page opens, or the call's end would be missed. */
		if (pz_hit_signal(s, h)) {
			record(s, f, w, line, PZ_BY_INFERIOR);
			pz_hit_clear(h);
			exact = false;
		}
	} else if (!again) {
		h->deferred = true;
		s->n_deferred_hits++;
		s->deferred_us = PZ_AWAIT_US;
		pz_kick(s);
	}
	if (again) {
		h->running = 0; /* still copying */
		if (exact && !has_hit(s, f->tid, h->line, w->id))
			hit_another(s, f, w, h);
	}
	if (exact)
		pz_pages_add(&s->opened, page);
	else
		pz_rearm_soon(s, page, f->tid);
	open_page(s, page, wp, write, true);
}

static void user_stop(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
		      const char *line)
{
	bool wp = is_wp(f), write = is_write(f);
	struct pz_hit full = {0}, *h;

	if (pz_hit_earlier_calls(s, f->tid, NULL)) {
		/* It stops for these first, and its access faults again afterwards. */
		if (!pz_hit_signal(s, pz_hit_waiting(s, f->tid)))
			return;
	}
	h = pz_hit_of(s, f->tid);
	if (!h)
		h = pz_hit_new(s);
	if (!h)
		h = &full; /* it stops, finds no hit, goes on and faults again */
	h->exact = true;
	h->head = (struct pz_hit_head){
		.watch = w->id,
		.tid = (uint32_t)f->tid,
		.flags = (write ? PZ_HIT_WRITE : 0) | (wp ? 0 : PZ_HIT_MISSING),
		.syscall = -1,
		.address = f->address,
		.time_us = pz_now_us(),
	};
	h->head.pc = pz_line_pc(line);
	/* The fault stays unresolved: the signal takes the thread out of it, before the access. */
	if (pz_hit_signal(s, h)) {
		pz_hit_clear(h);
		record(s, f, w, line, PZ_BY_INFERIOR);
		pz_rearm_soon(s, pz_page_down(f->address), f->tid);
		open_page(s, pz_page_down(f->address), wp, write, true);
	}
}

/* A fault of somebody who is not the inferior: never signalled, served at once. */
static void foreign(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
		    bool exact)
{
	uint64_t page = pz_page_down(f->address), tracer = 0;
	bool wp = is_wp(f);
	enum pz_by by = PZ_BY_OTHER;

	pz_proc_status_field(s->options.pid, pz_proc_living(s->options.pid), "TracerPid:", &tracer);
	if (pz_proc_has_task(s->options.pid, f->tid))
		by = PZ_BY_INFERIOR; /* whose files may not be read */
	else if (f->tid == s->agent || (tracer && pz_proc_has_task((pid_t)tracer, f->tid)))
		by = PZ_BY_DEBUGGER;
	if (exact)
		record(s, f, w, NULL, by);
	pz_rearm_soon(s, page, 0);
	open_page(s, page, wp, true, true);
}

/* Nothing is written: the page is open until the thread sleeps in its call, or for a while. */
static void open_to_look(struct pz_session *s, const struct pz_fault *f)
{
	uint64_t page = pz_page_down(f->address);

	open_page(s, page, is_wp(f), is_write(f), true);
	if (!pz_await_asleep(s, f->tid) || pz_uffd_protect(s->uffd, page, PZ_PAGE, true, false))
		pz_rearm_soon(s, page, f->tid);
}

static void trace(struct pz_session *s, const struct pz_fault *f, const struct pz_watch *w,
		  bool exact, char *line)
{
	uint64_t page = pz_page_down(f->address);
	struct pz_open_page *open = pz_open_for(s, page, f->tid);
	bool again = open && open->signalled;

	if (!again)
		pz_rearm_soon(s, page, f->tid);
	open_page(s, page, is_wp(f), is_write(f), true);
	if (!exact || again)
		return;
	if (pz_line_signalled(line)) {
		open = pz_open_for(s, page, f->tid);
		if (open)
			open->signalled = true;
		pz_line_of_stopped(s, f->tid, line, PZ_LINE);
	}
	record(s, f, w, line, PZ_BY_INFERIOR);
}

void pz_fault_handle(struct pz_session *s, const struct pz_fault *f)
{
	uint64_t page = pz_page_down(f->address);
	bool wp = is_wp(f), write = is_write(f);
	const struct pz_watch *w = NULL;
	bool exact = false, stopping = false, kernel;
	char line[PZ_LINE];
	int error;

	s->count.faults++;
	if (!s->shown && !s->releasing)
		w = pz_watch_on_page(s, page, write, f->address, &exact, &stopping);
	if (!w) {
		pz_serve(s, page, wp);
		return;
	}
	if (f->tid == s->stepping_tid) {
		step_fault(s, page, wp);
		return;
	}
	error = pz_syscall_line(s, f, line, sizeof(line));
	if (error == -EAGAIN) {
		pz_fault_again(s, page);
		return;
	}
	if (error) {
		foreign(s, f, w, exact);
		return;
	}
	kernel = pz_line_in_call(line);
	if (kernel && pz_call_only_looks(line)) {
		open_to_look(s, f);
		return;
	}
	if (stopping && !pz_may_stop(s, f->tid))
		stopping = false;
	if (stopping && kernel) {
		kernel_stop(s, f, w, exact, line);
	} else if (stopping) {
		user_stop(s, f, w, line);
	} else {
		trace(s, f, w, exact, line);
	}
}

/* Reads and handles one message; false where there is none. Lock held over the read: what a
 * fork event finds in the ledger is what the child was copied from. */
static bool handle_one(struct pz_session *s, pid_t *ret_tid)
{
	const struct uffd_msg *m;
	struct pz_fault f;

	pz_lock_for_fault(s);
	struct pz_session *locked __attribute__((cleanup(pz_unlock_cleanup), unused)) = s;

	pz_put_off_retry(s);
	m = pz_message_read(s);
	if (!m)
		return false;
	if (m->event != UFFD_EVENT_PAGEFAULT) {
		pz_event_handle(s, m);
		return true;
	}
	f = (struct pz_fault){.address = m->arg.pagefault.address,
			      .flags = m->arg.pagefault.flags,
			      .tid = pz_proc_local_tid(s, (pid_t)m->arg.pagefault.feat.ptid)};
	if (!s->hold)
		pz_fault_handle(s, &f);
	else if (s->n_put_off < PZ_MAX_DEFERRED)
		s->put_off[s->n_put_off++] = f; /* beyond that: woken where the hold ends */
	*ret_tid = f.tid;
	return true;
}

static void *fault_main(void *argument)
{
	struct pz_session *s = argument;
	struct pollfd p[2] = {{.fd = s->uffd, .events = POLLIN},
			      {.fd = s->wake_fd, .events = POLLIN}};

	uint64_t wakes;

	pz_place_init(s);
	while (!atomic_load(&s->fault_stop)) {
		pid_t tid = 0;

		if (handle_one(s, &tid)) {
			/* No poll in between: served at SCHED_IDLE, the thread has run, and has
			 * faulted again, before the serving call returned. */
			if (tid)
				pz_place_fault(s, tid);
			continue;
		}
		if (poll(p, 2, s->n_put_off && !s->hold ? 1 : -1) < 0 && errno != EINTR)
			break;
		if (p[0].revents & (POLLERR | POLLHUP))
			break;
		if (p[1].revents && read(s->wake_fd, &wakes, sizeof(wakes)) < 0)
			continue;
	}
	return NULL;
}

int pz_fault_start(struct pz_session *s)
{
	pthread_attr_t attributes;
	sigset_t all, old;
	int error;

	sigfillset(&all);
	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_SIZE);
	pthread_sigmask(SIG_BLOCK, &all, &old);
	error = pthread_create(&s->fault_thread, &attributes, fault_main, s);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	pthread_attr_destroy(&attributes);
	s->fault_thread_runs = !error;
	return -error;
}

/* Has the fault thread look at what it put off, or at its end. */
void pz_fault_wake(struct pz_session *s)
{
	wake(s->wake_fd);
}

void pz_fault_stop(struct pz_session *s)
{
	if (!s->fault_thread_runs)
		return;
	atomic_store(&s->fault_stop, true);
	pz_fault_wake(s);
	pz_place_end(s);
	pthread_join(s->fault_thread, NULL);
	s->fault_thread_runs = false;
}
