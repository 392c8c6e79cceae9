/* Everything back, nothing of ours left. */
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

#define TRACER_WAIT_US	3000000
#define HANDLER_WAIT_US 2000000
#define GRACE_US	50000
#define MAX_STOPPED	1024
#define BRING_TRIES	100

struct stopped {
	pid_t tid;
	uint64_t runs;
};

typedef void (*task_visit)(struct pz_session *s, pid_t tid, void *context);

static void each_task(struct pz_session *s, task_visit visit, void *context)
{
	char path[64];
	struct dirent *entry;
	DIR *tasks;

	snprintf(path, sizeof(path), "/proc/%d/task", s->options.pid);
	tasks = opendir(path);
	if (!tasks)
		return;
	while ((entry = readdir(tasks))) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid > 0)
			visit(s, tid, context);
	}
	closedir(tasks);
}

struct stopped_list {
	struct stopped item[MAX_STOPPED];
	unsigned int count;
};

static void collect_stopped(struct pz_session *s, pid_t tid, void *context)
{
	struct stopped_list *list = context;

	if (list->count < MAX_STOPPED && pz_proc_state(s->options.pid, tid) == 't')
		list->item[list->count++] =
			(struct stopped){tid, pz_proc_sched(s->options.pid, tid).runs};
}

static void find_tracer(struct pz_session *s, pid_t tid, void *context)
{
	uint64_t tracer = 0;

	if (pz_proc_status_field(s->options.pid, tid, "TracerPid:", &tracer) == 0 && tracer)
		*(bool *)context = true;
}

static bool traced(struct pz_session *s)
{
	bool found = false;

	each_task(s, find_tracer, &found);
	return found;
}

static bool has_run(struct pz_session *s, const struct stopped *t)
{
	return !pz_proc_has_task(s->options.pid, t->tid) ||
	       pz_proc_sched(s->options.pid, t->tid).runs > t->runs;
}

/* A stop signal of ours that the debugger did not take has stopped the whole process. */
static void undo_stop(struct pz_session *s)
{
	if (!s->shared->stop_pending || s->was_stopped)
		return;
	if (pz_proc_stopped(s->options.pid))
		kill(s->options.pid, SIGCONT);
}

/*
 * The debugger died. A thread that stood in the signal stop of a step is about to
 * take that SIGTRAP: the handler and its page stay until it has.
 */
static void wait_for_orphans(struct pz_session *s, const struct stopped_list *list)
{
	uint64_t end = pz_now_us() + TRACER_WAIT_US;

	while (traced(s) && pz_now_us() < end)
		pz_sleep_us(5000);
	end = pz_now_us() + HANDLER_WAIT_US;
	for (unsigned int i = 0; i < list->count; i++) {
		while (!has_run(s, &list->item[i]) && pz_now_us() < end) {
			undo_stop(s);
			pz_sleep_us(5000);
		}
	}
	/* One that a thread has taken just now stops them all a little later. */
	for (end = pz_now_us() + GRACE_US; pz_now_us() < end; pz_sleep_us(5000))
		undo_stop(s);
}

static void open_all(struct pz_session *s)
{
	PZ_LOCKED(s);
	pz_for_each_region (s, r) {
		for (int i = 0; (r->modes & UFFDIO_REGISTER_MODE_WP) && i < 2000; i++) {
			if (pz_uffd_protect(s->uffd, r->start, r->end - r->start, false, true) !=
			    -EAGAIN)
				break;
			pz_lock_give_up(s, 100);
		}
		pz_uffd_wake(s->uffd, r->start, r->end - r->start);
	}
}

/* Not while a page is kept still: mremap(2) may have moved some past the search for them. */
static bool unregister_all(struct pz_session *s)
{
	const uint64_t *kept = s->count.kept;
	struct pz_region *r;

	PZ_LOCKED(s);
	if (kept[PZ_STASH] || kept[PZ_STORE] || kept[PZ_FILL])
		return false;
	while ((r = pz_region_next(s, 0))) {
		pz_uffd_unregister(s->uffd, r->start, r->end - r->start);
		pz_region_remove(s, r->start, r->end);
	}
	return true;
}

/* Is there no such memory any more? Asked with a range that we never register. */
static bool memory_gone(struct pz_session *s)
{
	return pz_uffd_zeropage(s->uffd, s->options.mailbox, PZ_PAGE) == -ESRCH;
}

/* Every page back, and no range registered. */
static int bring_all(struct pz_session *s, uint64_t *ret)
{
	struct pz_bring_result result = {0};
	int error = 0;

	for (int i = 0; i < BRING_TRIES; i++) {
		error = pz_bring(s, 0, ~0ull & PZ_PAGE_MASK, false, &result);
		*ret = result.refaulted;
		if (error)
			return memory_gone(s) ? 0 : error;
		if (unregister_all(s))
			return 0;
	}
	return -EAGAIN;
}

static void drain(struct pz_session *s)
{
	const struct uffd_msg *m;

	PZ_LOCKED(s);
	while ((m = pz_message_read(s))) {
		if (m->event != UFFD_EVENT_PAGEFAULT)
			pz_event_handle(s, m);
	}
}

int pz_release(struct pz_session *s, bool debugger_died, uint64_t *ret)
{
	pz_autofree struct stopped_list *list = calloc(1, sizeof(*list));
	int error;

	if (list && debugger_died)
		each_task(s, collect_stopped, list);
	{
		PZ_LOCKED(s);
		s->releasing = true;
		s->stepping_tid = 0;
		pz_hit_clear_all(s);
	}
	open_all(s);
	error = bring_all(s, ret);
	if (error) {
		/* Some page could not be brought back: it waits rather than read zeros. */
		PZ_LOCKED(s);
		s->releasing = false;
		if (!s->shown)
			pz_protect_all(s, true);
		return error;
	}
	pz_fault_stop(s);
	drain(s);
	pz_free_garbage(s);
	if (list && debugger_died) {
		wait_for_orphans(s, list);
	} else if (!traced(s)) {
		pz_sleep_us(5000);
		undo_stop(s);
	}
	pz_agent_guard_remove(s);
	error = pz_agent_end(s);
	s->shared->finished = 1;
	/* Where the agent was killed its memory stays, but the program has its own back. */
	return error == -ESRCH ? 0 : error;
}
