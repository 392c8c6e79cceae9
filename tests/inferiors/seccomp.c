/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp CONTROL: runs under a filter, one that lets everything through. */
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

#include "control.h"

char *memory;

int main(int argc, char **argv)
{
	struct sock_filter allow[] = {BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
	struct sock_fprog program = {.len = 1, .filter = allow};
	struct control *control;

	if (argc < 2)
		return 2;
	control = control_open(argv[1]);
	memory = anonymous(65536);
	fill_pattern(memory, 65536, 2);
	control->base = (uint64_t)memory;
	control->length = 65536;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		return 1;
	control_set(&control->ready, 1);
	control_serve(control, memory, 65536);
	return 0;
}
