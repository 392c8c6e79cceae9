/* Page maps in bulk and the decoding of answers, for programs outside the debugger. */
#include <string.h>

#include "pagezap/outside.h"
#include "pagezap/pagezap.h"

#define BATCH 4096
enum { COUNT_PRESENT, COUNT_SWAPPED, COUNT_MARKER, COUNT_EMPTY };

int pz_pagemap_scan(int fd, uint64_t start, uint64_t end, uint64_t anyof, uint64_t wanted,
		    struct pz_page_region *regions, size_t count, uint64_t *ret_end)
{
	struct pz_pm_scan_arg arg = {.size = sizeof(arg),
				     .start = start,
				     .end = end,
				     .vec = (uint64_t)(uintptr_t)regions,
				     .vec_len = count,
				     .category_anyof_mask = anyof,
				     .return_mask = wanted};
	int found = ioctl(fd, PZ_PAGEMAP_SCAN, &arg);

	if (found < 0)
		return -errno;
	*ret_end = arg.walk_end;
	return found;
}

int pz_pagemap_count(int fd, uint64_t start, uint64_t end, uint64_t *ret_counts)
{
	pz_autofree uint64_t *entries = malloc(BATCH * sizeof(*entries));

	if (!entries)
		return -ENOMEM;
	memset(ret_counts, 0, 4 * sizeof(*ret_counts));
	while (start < end) {
		uint64_t pages = pz_min((end - start) / PZ_PAGE, BATCH);
		ssize_t n = pread(fd, entries, pages * 8, (off_t)(start / PZ_PAGE * 8));

		if (n <= 0)
			return n < 0 ? -errno : -ESRCH;
		pages = (uint64_t)n / 8;
		for (uint64_t i = 0; i < pages; i++) {
			if (entries[i] >> 63)
				ret_counts[COUNT_PRESENT]++;
			else if (pz_pagemap_populated(entries[i]))
				ret_counts[COUNT_SWAPPED]++;
			else if (entries[i] >> 62 & 1)
				ret_counts[COUNT_MARKER]++;
			else
				ret_counts[COUNT_EMPTY]++;
		}
		start += pages * PZ_PAGE;
	}
	return 0;
}

/* A payload: a head whose u32 at `at` counts items of `size` bytes that follow it. */
static int decode(const void *data, size_t length, size_t head, size_t at, size_t size)
{
	uint32_t count;

	if (length < head)
		return -EPROTO;
	memcpy(&count, (const char *)data + at, sizeof(count));
	if (count > PZ_PACKET_MAX / size || length != head + count * size)
		return -EPROTO;
	return (int)count;
}

int pz_events_decode(const void *data, size_t length, const struct pz_event **ret_events)
{
	*ret_events = (const void *)((const char *)data + 24);
	return decode(data, length, 24, 16, sizeof(struct pz_event));
}

int pz_ledger_decode(const void *data, size_t length, const struct pz_ledger_run **ret_runs)
{
	*ret_runs = (const void *)((const char *)data + 16);
	return decode(data, length, 16, 8, sizeof(struct pz_ledger_run));
}
