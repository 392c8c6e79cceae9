/* SPDX-License-Identifier: Apache-2.0 */
/*
 * selfuffd CONTROL: has a userfaultfd of its own on its memory, and a second
 * mapping without one (spare).
 */
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#include "control.h"

char *memory;
char *other;

int main(int argc, char **argv)
{
	struct uffdio_api api = {.api = UFFD_API};
	struct uffdio_register reg;
	struct control *control;
	int fd;

	if (argc < 2)
		return 2;
	control = control_open(argv[1]);
	memory = anonymous(65536);
	/* A page between the two that cannot be merged with either. */
	if (mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return 1;
	other = anonymous(65536);
	fill_pattern(memory, 65536, 4);
	fill_pattern(other, 65536, 4);
	fd = (int)syscall(SYS_userfaultfd, 0);
	if (fd < 0 || ioctl(fd, UFFDIO_API, &api))
		return 77;
	reg = (struct uffdio_register){
		.range = {(uint64_t)memory, 65536},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	if (ioctl(fd, UFFDIO_REGISTER, &reg))
		return 77;
	control->base = (uint64_t)memory;
	control->length = 65536;
	control->spare = (uint64_t)other;
	control_set(&control->ready, 1);
	control_serve(control, memory, 65536);
	return 0;
}
