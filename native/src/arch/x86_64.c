/* x86-64: a system call made by a ptrace-stopped task. */
#if defined(__x86_64__)
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "pagezap/arch.h"
#include "pagezap/util.h"

static int run_to_syscall_stop(pid_t pid)
{
	int status;

	for (int i = 0; i < 16; i++) {
		if (ptrace(PTRACE_SYSCALL, pid, NULL, NULL) < 0)
			return -errno;
		if (waitpid(pid, &status, __WALL) < 0)
			return -errno;
		if (!WIFSTOPPED(status))
			return -ESRCH;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			return 0;
	}
	return -EIO;
}

/*
 * Runs one system call at `at`, where a syscall instruction is. By syscall stops,
 * not by a single step: a forced SIGTRAP would change the shared dispositions.
 */
int pz_arch_remote_syscall(pid_t pid, uint64_t at, long number, uint64_t a, uint64_t b, long *ret)
{
	struct user_regs_struct regs;
	int error;

	if (ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		return -errno;
	regs.orig_rax = ~0ull; /* no restart of the call it was in */
	regs.rax = (unsigned long long)number;
	regs.rip = at;
	regs.rdi = a;
	regs.rsi = b;
	if (ptrace(PTRACE_SETREGS, pid, NULL, &regs) < 0)
		return -errno;
	error = run_to_syscall_stop(pid);
	if (!error)
		error = run_to_syscall_stop(pid);
	if (!error && ptrace(PTRACE_GETREGS, pid, NULL, &regs) < 0)
		error = -errno;
	*ret = (long)regs.rax;
	return error;
}
#endif
