/*
 * One session: everything the helper knows of one inferior. Passed to every
 * function; there are no globals.
 *
 * Two threads. The main thread serves the socket and is the only one that talks
 * to the agent. The fault thread reads the userfaultfd and waits on nothing but
 * `lock`, which nobody holds over an agent call that could raise an event.
 */
#ifndef PAGEZAP_SESSION_H
#define PAGEZAP_SESSION_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "pagezap/mailbox.h"
#include "pagezap/protocol.h"
#include "pagezap/shared.h"

#define PZ_MAX_WATCHES	256
#define PZ_MAX_HITS	512
#define PZ_MAX_OPENED	1024
#define PZ_MAX_STEP	256
#define PZ_MAX_DEFERRED 256
#define PZ_MAX_CLIENTS	8
#define PZ_LINE		192
#define PZ_WATCH_US	4000	       /* between two checks of a SCHED_IDLE fault thread */
#define PZ_AWAIT_US	100	       /* between two looks at a thread whose call is awaited */
#define PZ_CHUNK	(4ull << 20)   /* bytes moved with the lock held: a fraction of a ms */
#define PZ_LOOK		(256ull << 20) /* bytes whose entries are looked at with the lock held */

struct pz_options {
	pid_t pid;
	int uffd_number;
	int command_number;
	uint64_t mailbox;
	uint64_t code;
	uint64_t code_length;
	bool no_move;
	uint32_t ring;
	int ready_fd;
};

struct pz_watch {
	uint32_t id;
	uint32_t flags;
	uint64_t start;
	uint64_t length;
	uint64_t recorded; /* accesses that did not stop */
	bool enabled;
};

/* A stop the debugger has not taken yet, one a thread. */
struct pz_hit {
	bool used;
	bool ready;    /* signalled: HIT_TAKE may have it */
	bool deferred; /* waits for the end of its system call */
	bool ended;    /* its call was left before the signal */
	bool exact;    /* the address lies in the watched bytes */
	unsigned int running;
	uint64_t order;		 /* of its coming: a thread's first hit is taken first */
	uint64_t content_length; /* watched bytes to compare when not exact */
	uint64_t content_address;
	char next[PZ_LINE]; /* the call the thread was in when this one had ended, if any */
	char line[PZ_LINE]; /* its line of /proc/PID/task/TID/syscall */
	struct pz_hit_head head;
	uint8_t *old; /* one page, or NULL */
};

/* A set of page addresses; `overflow` means: all of them. */
struct pz_pages {
	uint64_t page[PZ_MAX_OPENED];
	unsigned int count;
	bool overflow;
};

#define PZ_MAX_WOKEN 64

/* A thread that was woken from a fault; see rearm.c. */
struct pz_thread {
	pid_t tid;
	unsigned int faults;
	bool sampled;	 /* in this interval */
	uint64_t run_ns; /* as sampled; 0 where it need not be awaited */
};

struct pz_open_page {
	uint64_t page;
	pid_t tid;
	unsigned int fault; /* of its thread's, counted */
	uint64_t run_ns;    /* of its thread, at since_us */
	uint64_t since_us;  /* 0 until the end of the interval that it was opened in */
	bool signalled;	    /* for a call that a signal keeps awake: it may have faulted twice */
};

/* Pages that are open until an access is made. */
struct pz_open {
	struct pz_open_page page[PZ_MAX_OPENED];
	unsigned int count;
	bool overflow;
	struct pz_thread thread[PZ_MAX_WOKEN];
	unsigned int n_threads;
};

struct pz_counters {
	uint64_t kept[PZ_ZAPPED + 1]; /* pages in each state, shown or not */
	uint64_t shown;
	uint64_t leftovers;
	uint64_t faults, served_missing, served_wp, hits, signals;
	uint64_t forks, removes, unmaps, remaps;
};

struct pz_trace {
	struct pz_event *ring;
	uint64_t capacity;
	uint64_t next;
	uint64_t first;
};

struct pz_fd_slot {
	pid_t tid;
	int fd;
	uint64_t used;
};

#define PZ_AHEAD_PAGES 16

/* See ahead.c. Addresses are those of the stash. */
struct pz_ahead {
	uint8_t *buffer; /* PZ_AHEAD_PAGES */
	uint64_t start, end;
	uint64_t next;
	uint64_t changes;
};

#define PZ_FD_SLOTS 32

struct pz_fd_cache {
	const char *leaf;
	struct pz_fd_slot slot[PZ_FD_SLOTS];
	uint64_t clock;
};

/* The three fields of a thread's schedstat (Documentation/scheduler/sched-stats.rst). */
struct pz_sched {
	uint64_t ran_ns, waited_ns, runs;
};

struct pz_client {
	int fd;
	bool owner;
};

struct pz_free_slots {
	uint32_t *slot;
	size_t count, capacity;
};

struct pz_fault {
	uint64_t address;
	uint64_t flags;
	pid_t tid;
	bool again; /* not to be served: woken, so that it faults again */
};

/* A thread that was awake at its last faults; see syscall_line.c. */
struct pz_awake {
	pid_t tid;
	unsigned int times, pending;
	uint64_t used;
};

#define PZ_AWAKE_SLOTS 16

/* Placement of the fault thread; see placement.c. */
struct pz_placement {
	_Atomic pid_t fault_tid; /* 0 until it runs */
	bool may_idle;		 /* privileged to come back from SCHED_IDLE */
	_Atomic bool hot;
	_Atomic uint64_t progress;   /* faults handled */
	_Atomic uint64_t not_before; /* time before which it does not get hot again */
	_Atomic uint64_t backoff_us;
	uint64_t waited_ns; /* for others than the faulting thread, until the last check */
	pid_t tid;	    /* of the last fault */
	unsigned int in_row;
	uint64_t row_start_ns;
	unsigned int rows;	  /* since the last check of its waiting time */
	uint64_t last_ns, gap_ns; /* the last fault, and from the one before to it */
	uint64_t usual_ns;	  /* such a gap while the thread is where we are */
	unsigned int slow;	  /* gaps in turn that took longer */
	int cpu;		  /* where it is pinned, or -1 */
	uint64_t watched_us, watched_progress;
	unsigned int rechecks; /* of the policy, after it was made normal from outside */
	cpu_set_t allowed;     /* where the helper may run */
};

struct pz_session {
	struct pz_options options;
	int pidfd;
	int uffd;
	int command_fd;
	int mem_fd;
	int pagemap_fd;
	int shared_fd;
	int store_fd;
	int listen_fd;
	int signal_fd;
	int kick_fd; /* the fault thread wakes the main thread */
	int wake_fd; /* the main thread wakes the fault thread */
	int agent_pidfd;
	pid_t agent;
	pid_t keeper;
	uint64_t start_us;
	uint64_t features;
	bool move;
	bool wp;
	bool same_pid_namespace;
	bool in_recovery;

	volatile struct pz_mailbox *mailbox;
	struct pz_shared *shared;
	uint64_t *ledger;
	struct pz_region **order; /* the table's regions by address; see slots.c */
	unsigned int n_regions;
	uint32_t n_garbage;
	struct pz_region *free_region;
	uint64_t stash_hint; /* where the next stash is wanted */

	struct pz_placement placement;
	pthread_t fault_thread;
	bool fault_thread_runs;
	_Atomic bool fault_stop;
	pthread_mutex_t lock; /* all of what follows, and `shared` */
	_Atomic unsigned int fault_wants;
	bool hold; /* recovery: faults are put off until the ledger is exact */
	bool shown;
	bool unregistered; /* while it is shown; see step.c */
	bool calling;	   /* the debugger has the inferior call a function */
	bool detaching;
	bool releasing;
	bool owned;
	bool ended;
	bool owner_lost;
	uint64_t rearm_us, leftover_us, check_us; /* the last time each was done */
	bool dead;				  /* the inferior's mm is gone */
	bool was_stopped;
	pid_t stepping_tid;
	unsigned int n_step_pages;
	uint64_t step_page[PZ_MAX_STEP];
	unsigned int n_watches;
	struct pz_watch watch[PZ_MAX_WATCHES];
	struct pz_hit hit[PZ_MAX_HITS];
	uint64_t hit_order;
	unsigned int n_deferred_hits;
	uint64_t deferred_us;	/* between two looks at their threads */
	struct pz_pages opened; /* unprotected until the next HIDE */
	struct pz_pages rearm;	/* to be protected again now */
	struct pz_open open;	/* to be protected again soon */
	unsigned int n_put_off;
	struct pz_fault put_off[PZ_MAX_DEFERRED];
	uint64_t put_off_us;
	uint64_t n_awake;
	struct pz_awake awake[PZ_AWAKE_SLOTS];
	uint64_t last_remove_us;
	struct pz_counters count;
	struct pz_trace trace;
	struct pz_free_slots free_slots;
	struct pz_fd_cache syscall_files; /* fault thread and main, under lock */
	struct pz_fd_cache run_files;	  /* main thread */
	struct pz_fd_cache stat_files;	  /* fault thread */
	struct pz_fd_cache sched_files;	  /* fault thread */
	uint64_t stash_changes;		  /* contents that came into the stash */
	struct pz_ahead ahead;		  /* fault thread, under lock */
	uint8_t *page_buffer;		  /* 64 pages, under lock */
	uint8_t *main_buffer;		  /* one page, main thread */

	struct pz_client client[PZ_MAX_CLIENTS];
};

#endif
