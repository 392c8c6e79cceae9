int pz_probe(char *buffer, size_t size);

struct pz_ledger_run {
	uint64_t start, length;
	uint32_t state, flags;
	...;
};

struct pz_event {
	uint64_t time_us, address, pc;
	uint32_t watch, pid, tid;
	int32_t syscall;
	uint8_t access, by, stopped;
	...;
};

struct pz_page_region {
	uint64_t start, end, categories;
};

/* Regions of [start, end) in any of the categories; -errno, or how many, and where it ended. */
int pz_pagemap_scan(int fd, uint64_t start, uint64_t end, uint64_t anyof, uint64_t wanted,
		    struct pz_page_region *regions, size_t count, uint64_t *ret_end);
/* Counts pages of a pagemap by state: present, swapped, markers, empty. */
int pz_pagemap_count(int fd, uint64_t start, uint64_t end, uint64_t *ret_counts);
/* The events of a packet's payload, in place; -EPROTO where its length is wrong. */
int pz_events_decode(const void *data, size_t length, const struct pz_event **ret_events);
int pz_ledger_decode(const void *data, size_t length, const struct pz_ledger_run **ret_runs);
