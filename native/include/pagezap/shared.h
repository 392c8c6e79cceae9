/*
 * What the helper shares with its keeper: the range table and the ledger, in one
 * sparse memfd, so that either of them can bring every page back at any instant.
 * The order of every change is content, ledger, zap.
 */
#ifndef PAGEZAP_SHARED_H
#define PAGEZAP_SHARED_H

#include <linux/userfaultfd.h>
#include <stdbool.h>
#include <stdint.h>

#define PZ_MAX_REGIONS	  (1u << 20) /* beyond what vm.max_map_count lets the program have */
#define PZ_LEDGER_OFFSET  (128ull << 20)
#define PZ_LEDGER_ENTRIES (256ull << 20) /* 1 TiB of managed memory; the file is sparse */
#define PZ_SHARED_LENGTH  (PZ_LEDGER_OFFSET + PZ_LEDGER_ENTRIES * 8)

/* States of a page; the first four after NONE are those of LEDGER_READ. */
enum pz_state {
	PZ_NONE = 0,
	PZ_STASH = 1,
	PZ_STORE = 2,
	PZ_FILL = 3,
	PZ_ZAPPED = 4,
};

/* An entry of the ledger: state, flags, and where the content is. */
#define PZ_STATE_MASK 0xfull
#define PZ_SHOWN      0x10ull /* present now, to be taken away again by HIDE */
#define PZ_LEFTOVER   0x20ull /* a stale copy is still in the stash */
#define PZ_MOVING     0x40ull /* being taken away right now */
#define PZ_FILLED     0x80ull /* was fill before it was shown */
#define PZ_SLOT_SHIFT 12
#define PZ_SLOT_ZERO  (1ull << 40) /* no slot: zeros */
#define PZ_SLOT_BYTE  (1ull << 41) /* no slot: the byte in the low 8 bits */

enum pz_region_kind {
	PZ_REGION_FREE = 0,
	PZ_REGION_USED,
	PZ_REGION_GARBAGE, /* its memory has gone; its stash is still to be unmapped */
};

struct pz_region {
	uint64_t start;
	uint64_t end;
	uint64_t entry;		     /* index of the first page's ledger entry */
	uint64_t stash;		     /* address of the first page's place in the stash, 0 without */
	uint64_t modes;		     /* UFFDIO_REGISTER_MODE_* */
	uint64_t generation;	     /* the greater is the newer */
	struct pz_region *next_free; /* of the helper alone */
	enum pz_region_kind kind;
};

struct pz_span {
	uint64_t start;
	uint64_t length;
};

struct pz_shared {
	uint32_t finished;	/* 1 once everything is released: nothing to recover */
	uint32_t guard;		/* 1 while our SIGTRAP handler is installed */
	uint32_t n_slots;	/* slots ever used in the table */
	uint32_t stop_pending;	/* a SIGSTOP of ours may not have been taken */
	struct pz_span own_zap; /* a REMOVE of this range is ours... */
	uint32_t own_zap_state; /* ...and leaves the pages in this state */
	uint32_t reserved;
	uint64_t generation;	 /* of the newest region */
	uint64_t slots;		 /* slots ever used in the store */
	struct uffd_msg message; /* the last one read; its event is 0 once it is handled */
	struct pz_region slot[PZ_MAX_REGIONS];
};

_Static_assert(sizeof(struct pz_shared) <= PZ_LEDGER_OFFSET, "the ledger's place");

static inline enum pz_state pz_entry_state(uint64_t e)
{
	return (enum pz_state)(e & PZ_STATE_MASK);
}

static inline uint64_t pz_entry_slot(uint64_t e)
{
	return e >> PZ_SLOT_SHIFT;
}

/* Kept means: away now, with a content that waits. */
static inline bool pz_entry_kept(uint64_t e)
{
	enum pz_state s = pz_entry_state(e);

	return (s == PZ_STASH || s == PZ_STORE || s == PZ_FILL) && !(e & PZ_SHOWN);
}

#endif
