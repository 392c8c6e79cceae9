/* The inferior's mappings and page table entries. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>

#include "pagezap/pagezap.h"

#define PAGEMAP_PRESENT (1ull << 63)
#define PAGEMAP_SWAPPED (1ull << 62)
#define PAGEMAP_TYPE	0x1full
#define PAGEMAP_MARKER	31ull

static bool parse_line(const char *line, struct pz_vma *ret)
{
	unsigned long start, end, inode;
	char perms[5], path[64] = "";

	if (sscanf(line, "%lx-%lx %4s %*s %*s %lu %63s", &start, &end, perms, &inode, path) < 4)
		return false;
	*ret = (struct pz_vma){.start = start, .end = end};
	ret->prot = (perms[0] == 'r' ? PROT_READ : 0) | (perms[1] == 'w' ? PROT_WRITE : 0) |
		    (perms[2] == 'x' ? PROT_EXEC : 0);
	ret->private_anonymous = perms[3] == 'p' && inode == 0 &&
				 (!path[0] || !strncmp(path, "[heap]", 6) ||
				  !strncmp(path, "[stack", 6) || !strncmp(path, "[anon:", 6));
	return true;
}

/* Visits the mappings that overlap a range, clipped to it; -ENOMEM where there is a hole. */
int pz_maps_visit(pid_t pid, uint64_t start, uint64_t end, pz_vma_visit visit, void *context)
{
	int fd = pz_proc_open(pid, "maps", O_RDONLY);
	char *line = NULL;
	size_t size = 0;
	uint64_t next = start;
	int error = 0;
	FILE *f;

	if (fd < 0)
		return fd;
	f = fdopen(fd, "r");
	if (!f) {
		close(fd);
		return -ENOMEM;
	}
	while (!error && next < end && getline(&line, &size, f) > 0) {
		struct pz_vma v;

		if (!parse_line(line, &v) || v.end <= next)
			continue;
		if (v.start > next)
			break;
		v.start = next;
		v.end = pz_min(v.end, end);
		next = v.end;
		error = visit(context, &v);
	}
	free(line);
	fclose(f);
	if (!error && next < end)
		error = -ENOMEM;
	return error;
}

static int check_one(void *context, const struct pz_vma *v)
{
	(void)context;
	return v->private_anonymous ? 0 : -EINVAL;
}

int pz_maps_check_anonymous(struct pz_session *s, uint64_t start, uint64_t end)
{
	int error = pz_maps_visit(s->options.pid, start, end, check_one, NULL);

	if (error == -ENOMEM)
		error = -EINVAL;
	PZ_LOCKED(s);
	return pz_region_ours(s, start, end) ? -EINVAL : error;
}

int pz_pagemap_read(struct pz_session *s, uint64_t start, uint64_t pages, uint64_t *ret)
{
	uint64_t done = 0;

	while (done < pages) {
		ssize_t n = pread(s->pagemap_fd, ret + done, (pages - done) * 8,
				  (off_t)((start / PZ_PAGE + done) * 8));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -ESRCH;
		done += (uint64_t)n / 8;
	}
	return 0;
}

/* Markers (uffd-wp, poison, guard) look swapped and hold nothing. */
bool pz_pagemap_populated(uint64_t entry)
{
	if (entry & PAGEMAP_PRESENT)
		return true;
	return (entry & PAGEMAP_SWAPPED) && (entry & PAGEMAP_TYPE) != PAGEMAP_MARKER;
}
