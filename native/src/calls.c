/* What system calls do to the caller's memory, and a signal to them meanwhile. */
#include <linux/futex.h>
#include <stdio.h>

#include "pagezap/pagezap.h"

#define WAITALL 0x100 /* MSG_WAITALL of recv(2): the call goes on until all is there */

/* They return what they have when a signal comes: all of it, on files that do not sleep. */
static const int readers[] = {SYS_read,	   SYS_pread64,	 SYS_readv,  SYS_preadv,
			      SYS_preadv2, SYS_recvfrom, SYS_recvmsg};

/* They write their answer once they have it, and look at no signal after that. */
static const int answers[] = {
	SYS_getcwd,
	SYS_readlinkat,
	SYS_fstat,
	SYS_newfstatat,
	SYS_statx,
	SYS_statfs,
	SYS_fstatfs,
	SYS_uname,
	SYS_sysinfo,
	SYS_times,
	SYS_getrusage,
	SYS_prlimit64,
	SYS_clock_gettime,
	SYS_gettimeofday,
	SYS_epoll_pwait,
	SYS_ppoll,
	SYS_pselect6,
	SYS_wait4,
	SYS_waitid,
	SYS_pipe2,
	SYS_socketpair,
	SYS_accept,
	SYS_accept4,
	SYS_getsockname,
	SYS_getpeername,
	SYS_getsockopt,
	SYS_rt_sigaction,
	SYS_rt_sigprocmask,
	SYS_rt_sigtimedwait,
	SYS_rt_sigpending,
	SYS_process_vm_readv,
#ifdef SYS_poll /* the older calls, which newer architectures lack */
	SYS_poll,
	SYS_select,
	SYS_epoll_wait,
	SYS_stat,
	SYS_lstat,
	SYS_readlink,
	SYS_pipe,
#endif
};

static bool among(const int *list, size_t count, int number)
{
	for (size_t i = 0; i < count; i++) {
		if (list[i] == number)
			return true;
	}
	return false;
}

/* Whether a signal sent now lets the call of this line of /proc/PID/task/TID/syscall end as
 * it would without: the thread then stops where the call returns. */
bool pz_call_stops_at_end(struct pz_session *s, const char *line)
{
	unsigned long a[4] = {0};
	char path[64];
	int number;

	if (sscanf(line, "%d %lx %lx %lx %lx", &number, &a[0], &a[1], &a[2], &a[3]) < 5)
		return false;
	if (among(answers, sizeof(answers) / sizeof(answers[0]), number))
		return true;
	if (!among(readers, sizeof(readers) / sizeof(readers[0]), number))
		return false;
	if ((number == SYS_recvfrom && (a[3] & WAITALL)) ||
	    (number == SYS_recvmsg && (a[2] & WAITALL)))
		return false;
	snprintf(path, sizeof(path), "fd/%d", (int)a[0]);
	return pz_proc_plain_file(s->options.pid, path);
}

/*
 * Whether the call of this line only names memory: futex(2) has the kernel look the page up as
 * for a write (mm/gup.c), and faults at its first byte, where no word is written.
 */
bool pz_call_only_looks(const char *line)
{
	unsigned long address, op;
	int number;

	if (sscanf(line, "%d %lx %lx", &number, &address, &op) < 3 || number != SYS_futex)
		return false;
	switch (op & ~(unsigned long)(FUTEX_PRIVATE_FLAG | FUTEX_CLOCK_REALTIME)) {
	case FUTEX_WAIT:
	case FUTEX_WAKE:
	case FUTEX_REQUEUE:
	case FUTEX_CMP_REQUEUE:
	case FUTEX_WAIT_BITSET:
	case FUTEX_WAKE_BITSET:
		return true;
	default:
		return false;
	}
}
