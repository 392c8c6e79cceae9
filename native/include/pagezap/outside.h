/* For programs outside the debugger: page maps and decoding of what the helper answers. */
#ifndef PAGEZAP_OUTSIDE_H
#define PAGEZAP_OUTSIDE_H

#include <stddef.h>
#include <stdint.h>

#include "pagezap/protocol.h"
#include "pagezap/uapi.h"

int pz_pagemap_scan(int fd, uint64_t start, uint64_t end, uint64_t anyof, uint64_t wanted,
		    struct pz_page_region *regions, size_t count, uint64_t *ret_end);
int pz_pagemap_count(int fd, uint64_t start, uint64_t end, uint64_t *ret_counts);
int pz_events_decode(const void *data, size_t length, const struct pz_event **ret_events);
int pz_ledger_decode(const void *data, size_t length, const struct pz_ledger_run **ret_runs);

#endif
