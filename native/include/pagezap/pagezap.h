/* The library's functions, one block a source file. All answer 0 or -errno. */
#ifndef PAGEZAP_H
#define PAGEZAP_H

#include "pagezap/session.h"
#include "pagezap/uapi.h"
#include "pagezap/util.h"

#define PZ_CONCAT_(a, b) a##b
#define PZ_CONCAT(a, b)	 PZ_CONCAT_(a, b)
/* Holds the session's lock until the end of the scope. */
#define PZ_LOCKED(session)                                                                         \
	struct pz_session *PZ_CONCAT(locked_, __LINE__)                                            \
		__attribute__((cleanup(pz_unlock_cleanup), unused)) = (session);                   \
	pz_lock(session)

/* lock.c: the session's lock. */
void pz_lock(struct pz_session *s);
void pz_lock_for_fault(struct pz_session *s);
void pz_lock_give_up(struct pz_session *s, unsigned int us);
void pz_lock_make_room(struct pz_session *s);
void pz_main_pause(struct pz_session *s);
static inline void pz_unlock_cleanup(struct pz_session **s)
{
	pthread_mutex_unlock(&(*s)->lock);
}

/* placement.c: where and how the fault thread runs. */
void pz_place_prepare(struct pz_session *s);
void pz_place_init(struct pz_session *s);
void pz_place_fault(struct pz_session *s, pid_t tid);
void pz_place_end(struct pz_session *s);
void pz_place_watch(struct pz_session *s);
void pz_place_cool(struct pz_session *s, bool starved);

/* uffd.c: a new userfaultfd, and the ioctls of one. */
int pz_uffd_new(int flags, const char **ret_how);
int pz_uffd_handshake(int uffd, uint64_t wanted, uint64_t *ret);
int pz_uffd_register(int uffd, uint64_t start, uint64_t length, uint64_t modes);
int pz_uffd_unregister(int uffd, uint64_t start, uint64_t length);
int pz_uffd_wake(int uffd, uint64_t start, uint64_t length);
int pz_uffd_copy(int uffd, uint64_t dst, const void *src, uint64_t length, bool wp, uint64_t *ret);
int pz_uffd_zeropage(int uffd, uint64_t dst, uint64_t length);
int pz_uffd_poison(int uffd, uint64_t start, uint64_t length);
int pz_uffd_protect(int uffd, uint64_t start, uint64_t length, bool protect, bool wake);

/* agent.c: system calls in the inferior's mm. Main thread only. */
int pz_agent_attach(struct pz_session *s);
long pz_agent_call(struct pz_session *s, long number, const uint64_t *arguments);
long pz_agent_syscall(struct pz_session *s, long number, uint64_t a, uint64_t b, uint64_t c);
int pz_agent_map(struct pz_session *s, uint64_t length, int prot, uint64_t *ret);
int pz_agent_drop(struct pz_session *s, uint64_t start, uint64_t length);
int pz_agent_drop_while(struct pz_session *s, uint64_t start, uint64_t length,
			void (*meanwhile)(struct pz_session *s));
int pz_agent_unmap(struct pz_session *s, uint64_t start, uint64_t length);
int pz_agent_move(struct pz_session *s, uint64_t dst, uint64_t src, uint64_t length, uint64_t *ret);
int pz_agent_guard_install(struct pz_session *s);
int pz_agent_guard_remove(struct pz_session *s);
int pz_agent_end(struct pz_session *s);
bool pz_agent_alive(struct pz_session *s);

/* ahead.c: contents of the stash, for the fault thread. */
const void *pz_ahead_content(struct pz_session *s, const struct pz_region *r, uint64_t page);

/* syscall_line.c: a line of /proc/PID/task/TID/syscall, and that of the thread of a fault. */
bool pz_line_running(const char *line);
bool pz_line_in_call(const char *line);
bool pz_line_unknown(const char *line);
bool pz_line_signalled(const char *line);
uint64_t pz_line_pc(const char *line);
/* Fault thread, lock held. */
bool pz_await_asleep(struct pz_session *s, pid_t tid);
void pz_line_of_stopped(struct pz_session *s, pid_t tid, char *line, size_t size);
int pz_syscall_line(struct pz_session *s, const struct pz_fault *f, char *line, size_t size);

/* procfs.c */
pid_t pz_proc_living(pid_t pid);
int pz_proc_open(pid_t pid, const char *leaf, int flags);
int pz_proc_status_field(pid_t pid, pid_t tid, const char *field, uint64_t *ret);
ssize_t pz_proc_wchan(pid_t tid, char *buffer, size_t size);
char pz_proc_state(pid_t pid, pid_t tid);
bool pz_proc_stopped(pid_t pid);
struct pz_sched pz_proc_sched(pid_t pid, pid_t tid);
struct pz_sched pz_cache_sched(struct pz_fd_cache *c, pid_t pid, pid_t tid);
const char *pz_proc_stat_field(const char *text, int number);
uint64_t pz_proc_start_time(pid_t pid);
uint64_t pz_proc_capabilities(void);
uint64_t pz_proc_rss_kib(void);
void pz_cache_init(struct pz_fd_cache *c, const char *leaf);
void pz_cache_deinit(struct pz_fd_cache *c);
ssize_t pz_cache_read(struct pz_fd_cache *c, pid_t pid, pid_t tid, char *buffer, size_t size);
bool pz_proc_plain_file(pid_t pid, const char *leaf);
bool pz_proc_signal_pending(pid_t pid, pid_t tid);
bool pz_proc_has_task(pid_t pid, pid_t tid);
pid_t pz_proc_local_tid(struct pz_session *s, pid_t tid);
pid_t pz_proc_local_agent(struct pz_session *s, pid_t agent);
bool pz_proc_same_mm(pid_t task, pid_t process);
bool pz_proc_same_file(pid_t a, int fd_a, pid_t b, int fd_b);

/* maps.c: the mappings of the inferior. */
struct pz_vma {
	uint64_t start, end;
	int prot;
	bool private_anonymous;
};
typedef int (*pz_vma_visit)(void *context, const struct pz_vma *vma);
int pz_maps_visit(pid_t pid, uint64_t start, uint64_t end, pz_vma_visit visit, void *context);
int pz_maps_check_anonymous(struct pz_session *s, uint64_t start, uint64_t end);
int pz_pagemap_read(struct pz_session *s, uint64_t start, uint64_t pages, uint64_t *ret);
bool pz_pagemap_populated(uint64_t entry);

/* slots.c: where the regions stand. Lock held. */
int pz_region_init(struct pz_session *s);
void pz_region_deinit(struct pz_session *s);
void pz_region_recover(struct pz_session *s);
struct pz_region *pz_region_find(struct pz_session *s, uint64_t address);
struct pz_region *pz_region_next(struct pz_session *s, uint64_t address);
bool pz_region_ours(struct pz_session *s, uint64_t start, uint64_t end);
struct pz_region *pz_slot_new(struct pz_session *s);
struct pz_region *pz_slot_fill(struct pz_session *s, struct pz_region *slot,
			       const struct pz_region *new);
void pz_slot_free(struct pz_session *s, struct pz_region *r);
void pz_slot_discard(struct pz_session *s, struct pz_region *r);
void pz_order_add(struct pz_session *s, struct pz_region *r);
void pz_order_drop(struct pz_session *s, const struct pz_region *r);
void pz_free_garbage(struct pz_session *s); /* main thread, lock not held */

/* regions.c: the table of registered ranges. Lock held. */
#define pz_for_each_region(s, r)                                                                   \
	for (struct pz_region **at_##r = (s)->order, *r;                                           \
	     at_##r < (s)->order + (s)->n_regions && ((r = *at_##r), true); at_##r++)
int pz_region_split(struct pz_session *s, uint64_t address);
int pz_region_cover(struct pz_session *s, uint64_t start, uint64_t end, uint64_t modes);
void pz_region_drop(struct pz_session *s, uint64_t start, uint64_t end, enum pz_state state);
int pz_region_remove(struct pz_session *s, uint64_t start, uint64_t end);
int pz_region_rekey(struct pz_session *s, uint64_t from, uint64_t to, uint64_t length);

/* ledger.c: one entry a page. Lock held. */
uint64_t *pz_entry(struct pz_session *s, const struct pz_region *r, uint64_t address);
void pz_entry_set(struct pz_session *s, uint64_t *entry, uint64_t value);
void pz_entry_drop(struct pz_session *s, uint64_t *entry, enum pz_state state);
int pz_content_read(struct pz_session *s, const struct pz_region *r, uint64_t address, void *ret);
void pz_ledger_recount(struct pz_session *s);

/* store.c: content in a memfd of our own. */
int pz_store_put(struct pz_session *s, const void *page, uint64_t *ret);
int pz_store_get(struct pz_session *s, uint64_t slot, void *ret);
void pz_store_free(struct pz_session *s, uint64_t slot);
uint64_t pz_store_bytes(struct pz_session *s);

/* keep.c, keep_copy.c, bring.c: pages away and back. Main thread, lock not held. */
struct pz_keep_result {
	uint64_t pages, kept, skipped, unpopulated;
	int reason;
};
int pz_keep(struct pz_session *s, uint64_t start, uint64_t length, bool shown_only,
	    struct pz_keep_result *ret);
int pz_cover_kept(void *session, const struct pz_vma *v);
int pz_wait_for_removes(struct pz_session *s);
bool pz_keep_wanted(uint64_t entry, uint64_t pagemap, bool shown_only);
int pz_keep_by_copy(struct pz_session *s, uint64_t start, uint64_t end, bool shown_only,
		    struct pz_keep_result *ret);
struct pz_bring_result {
	uint64_t pages, refaulted, resident, unpopulated;
};
int pz_bring(struct pz_session *s, uint64_t start, uint64_t end, bool show,
	     struct pz_bring_result *ret);
int pz_bring_moving(struct pz_session *s);
void pz_free_leftovers(struct pz_session *s);

/* zap.c, fill.c: main thread. */
int pz_zap_held(struct pz_session *s, const struct pz_region *region, uint64_t start, uint64_t end,
		uint64_t *ret_left);
void pz_unprotect_ours(struct pz_session *s, uint64_t start, uint64_t end);
int pz_fill(struct pz_session *s, uint64_t start, uint64_t length, uint32_t kind, uint32_t byte,
	    int fd, uint64_t offset, uint64_t *ret_pages, uint64_t *ret_dropped);
int pz_advise(struct pz_session *s, uint64_t start, uint64_t length, int advice, int64_t *ret);

/* watch.c: watches and the protection of their pages. */
int pz_watch_add(struct pz_session *s, uint32_t id, uint32_t flags, uint64_t start, uint64_t length,
		 uint64_t *ret_pages);
int pz_watch_delete(struct pz_session *s, uint32_t id);
int pz_watch_enable(struct pz_session *s, uint32_t id, bool enabled);
const struct pz_watch *pz_watch_on_page(struct pz_session *s, uint64_t page, bool write,
					uint64_t address, bool *ret_exact, bool *ret_stopping);
void pz_watch_count(struct pz_session *s, uint32_t id);
bool pz_watch_covers(struct pz_session *s, uint64_t page);
int pz_protect_all(struct pz_session *s, bool protect);
void pz_protect_page(struct pz_session *s, uint64_t page, bool protect);
int pz_protect_range(struct pz_session *s, uint64_t start, uint64_t end, bool protect);

/* rearm.c: pages that are open for a while. Lock held. */
void pz_pages_add(struct pz_pages *p, uint64_t page);
bool pz_rearm_waits(const struct pz_session *s);
void pz_rearm_soon(struct pz_session *s, uint64_t page, pid_t tid);
struct pz_open_page *pz_open_for(struct pz_session *s, uint64_t page, pid_t tid);
void pz_rearm_tick(struct pz_session *s);
void pz_rearm(struct pz_session *s, struct pz_pages *p);

/* calls.c: what system calls do to memory, and a signal to them. */
bool pz_call_only_looks(const char *line);
bool pz_call_stops_at_end(struct pz_session *s, const char *line);

/* hits.c: stops, and the end of system calls that were watched. */
struct pz_hit *pz_hit_of(struct pz_session *s, pid_t tid);
struct pz_hit *pz_hit_waiting(struct pz_session *s, pid_t tid);
void pz_hit_settle(struct pz_session *s, pid_t tid);
struct pz_hit *pz_hit_new(struct pz_session *s);
bool pz_hit_earlier_calls(struct pz_session *s, pid_t tid, const char *line);
void pz_hit_clear(struct pz_hit *h);
void pz_hit_clear_all(struct pz_session *s);
void pz_hit_none_left(struct pz_session *s);
int pz_hit_signal(struct pz_session *s, struct pz_hit *h);
void pz_hit_forget_deferral(struct pz_session *s, struct pz_hit *h);
bool pz_may_stop(struct pz_session *s, pid_t tid);
void pz_hits_tick(struct pz_session *s);
void pz_hits_signal_again(struct pz_session *s);
void pz_hit_record(struct pz_session *s, const struct pz_hit_head *h, enum pz_by by);

/* fault.c, serve.c, events.c, fork.c, put_off.c: the fault thread. */
int pz_fault_start(struct pz_session *s);
void pz_fault_stop(struct pz_session *s);
void pz_fault_handle(struct pz_session *s, const struct pz_fault *f);
int pz_serve_missing(struct pz_session *s, uint64_t page, bool protect, bool mark_shown);
int pz_serve_wp(struct pz_session *s, uint64_t page);
void pz_fault_wake(struct pz_session *s);
void pz_serve(struct pz_session *s, uint64_t page, bool wp);
int pz_put_off(struct pz_session *s, uint64_t page, uint64_t flags);
void pz_fault_again(struct pz_session *s, uint64_t page);
void pz_put_off_soon(struct pz_session *s);
void pz_put_off_retry(struct pz_session *s);
struct uffd_msg *pz_message_read(struct pz_session *s);
void pz_event_handle(struct pz_session *s, const struct uffd_msg *m);
void pz_event_redo(struct pz_session *s);
void pz_fork(struct pz_session *s, int child);
void pz_kick(struct pz_session *s);

/* step.c: SHOW, HIDE, STEP. Main thread, lock not held. */
int pz_show(struct pz_session *s);
int pz_show_calling(struct pz_session *s);
int pz_hide(struct pz_session *s, uint64_t *ret_taken, uint64_t *ret_lost);
int pz_step_begin(struct pz_session *s, pid_t tid, uint64_t address);
int pz_step_end(struct pz_session *s);

/* trace.c. Lock held. */
int pz_trace_init(struct pz_session *s);
void pz_trace_deinit(struct pz_session *s);
void pz_trace_add(struct pz_session *s, const struct pz_event *e);
uint32_t pz_trace_read(struct pz_session *s, uint64_t first, uint32_t max, struct pz_event *ret,
		       uint64_t *ret_next, uint64_t *ret_dropped);
void pz_trace_clear(struct pz_session *s);

/* control.c, ops.c */
int pz_control_init(struct pz_session *s);
int pz_control_run(struct pz_session *s);
struct pz_reply {
	int status;
	uint32_t length;
	bool end; /* leave after the answer */
	uint8_t payload[PZ_PACKET_MAX - sizeof(struct pz_header)];
};
void pz_op_dispatch(struct pz_session *s, struct pz_client *c, uint16_t op, const uint8_t *payload,
		    uint32_t length, int fd, struct pz_reply *ret);

/* session.c, keeper.c, release.c */
int pz_session_init(struct pz_session *s, const struct pz_options *options, const char **ret_why);
void pz_session_deinit(struct pz_session *s);
int pz_keeper_start(struct pz_session *s);
int pz_release(struct pz_session *s, bool debugger_died, uint64_t *ret);
int pz_recover(struct pz_session *s);

/* probe.c */
int pz_probe(char *buffer, size_t size);

#endif
