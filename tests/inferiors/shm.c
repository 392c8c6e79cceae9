/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shm CONTROL memfd|shared|private-file|shared-file|read-only PATH
 *
 * 64 KiB of the named kind of memory. PATH is a file of that size; a private
 * mapping of it is overwritten with the pattern, so that it differs from the file.
 */
#define _GNU_SOURCE
#include "control.h"

#define LENGTH 65536

char *memory;

int main(int argc, char **argv)
{
	struct control *control;
	int flags = MAP_SHARED;
	int prot = PROT_READ | PROT_WRITE;
	int fd = -1;

	if (argc < 4)
		return 2;
	control = control_open(argv[1]);
	if (!strcmp(argv[2], "memfd")) {
		fd = memfd_create("shm-test", MFD_CLOEXEC);
		if (fd < 0 || ftruncate(fd, LENGTH))
			return 1;
	} else if (!strcmp(argv[2], "shared")) {
		flags |= MAP_ANONYMOUS;
	} else {
		fd = open(argv[3], O_RDWR | O_CLOEXEC);
		if (fd < 0)
			return 1;
		if (!strcmp(argv[2], "private-file") || !strcmp(argv[2], "read-only"))
			flags = MAP_PRIVATE;
		if (!strcmp(argv[2], "read-only"))
			prot = PROT_READ;
	}
	memory = mmap(NULL, LENGTH, prot, flags, fd, 0);
	if (memory == MAP_FAILED)
		return 1;
	if (prot & PROT_WRITE && strcmp(argv[2], "shared-file"))
		fill_pattern(memory, LENGTH, 9);
	control->base = (uint64_t)memory;
	control->length = LENGTH;
	control->spare = checksum(memory, LENGTH);
	control_set(&control->ready, 1);
	control_serve(control, memory, LENGTH);
	return 0;
}
