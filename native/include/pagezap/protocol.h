/* The control protocol, docs/control-protocol.md. */
#ifndef PAGEZAP_PROTOCOL_H
#define PAGEZAP_PROTOCOL_H

#include <stdint.h>

#define PZ_PROTOCOL   1
#define PZ_PACKET_MAX 65536

enum pz_op {
	PZ_OP_HELLO = 1,
	PZ_OP_STATUS,
	PZ_OP_KEEP,
	PZ_OP_REFAULT,
	PZ_OP_FILL,
	PZ_OP_WATCH_ADD,
	PZ_OP_WATCH_DELETE,
	PZ_OP_WATCH_ENABLE,
	PZ_OP_HIT_TAKE,
	PZ_OP_HIT_DONE,
	PZ_OP_WATCH_COUNTS,
	PZ_OP_SHOW,
	PZ_OP_HIDE,
	PZ_OP_TRACE_READ,
	PZ_OP_TRACE_CLEAR,
	PZ_OP_LEDGER_READ,
	PZ_OP_ADVISE,
	PZ_OP_RELEASE,
	PZ_OP_DETACHING,
	PZ_OP_CALLING,
	PZ_OP_OWN,
	PZ_OP_COUNT,
};

#define PZ_HELLO_OWNER	    1
#define PZ_HELLO_MOVE	    1
#define PZ_HELLO_WP	    2
#define PZ_HELLO_NO_MOVE    4
#define PZ_WATCH_TRACE	    1
#define PZ_WATCH_WRITE_ONLY 2

#define PZ_TAKE_STEP 1 /* HIT_TAKE: begin the step over a user-mode access as well */

#define PZ_DONE_RECORD 1 /* HIT_DONE: the event is one to record */
#define PZ_DONE_SHOW   2 /* HIT_DONE: the inferior stays stopped */
#define PZ_HIT_KERNEL  1
#define PZ_HIT_WRITE   2
#define PZ_HIT_MISSING 4

enum pz_access { PZ_ACCESS_UNKNOWN, PZ_ACCESS_READ, PZ_ACCESS_WRITE };
enum pz_by { PZ_BY_INFERIOR, PZ_BY_DEBUGGER, PZ_BY_OTHER };

struct pz_header {
	uint16_t version;
	uint16_t op;
	uint32_t length;
	uint32_t sequence;
	int32_t status;
};

struct pz_hello_reply {
	uint32_t protocol, helper_pid, inferior_pid, agent_pid;
	uint64_t uffd_features;
	uint32_t flags, reserved;
};

struct pz_status {
	uint64_t uptime_us, rss_kib, kept_stash, kept_store, filled, zapped, store_bytes, faults,
		served_missing, served_wp, hits, signals, forks, removes, unmaps, remaps,
		trace_events, trace_dropped, managed_pages, watched_pages;
	uint32_t shown, stepping_tid;
};

struct pz_hit_head {
	uint32_t watch, tid, flags;
	int32_t syscall;
	uint64_t address, pc, time_us;
	uint32_t old_length, syscall_count;
};

struct pz_event {
	uint64_t time_us, address, pc;
	uint32_t watch, pid, tid;
	int32_t syscall;
	uint8_t access, by, stopped, reserved0;
	uint32_t reserved1;
	uint64_t reserved2[2];
};

struct pz_ledger_run {
	uint64_t start, length;
	uint32_t state, flags;
};

_Static_assert(sizeof(struct pz_header) == 16, "header");
_Static_assert(sizeof(struct pz_event) == 64, "event");
_Static_assert(sizeof(struct pz_hit_head) == 48, "hit");
_Static_assert(sizeof(struct pz_ledger_run) == 24, "run");

#endif
