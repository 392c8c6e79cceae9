/*
 * The agent's end. It cannot unmap the code it runs: the helper stops it with
 * ptrace, has it unmap its command page and its code, and kills it. It is a thread
 * group of its own, so that the signal ends it alone.
 */
#include <signal.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

#include "pagezap/arch.h"
#include "pagezap/pagezap.h"

static int seize(pid_t pid)
{
	int status;

	if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0)
		return -errno;
	if (ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0)
		return -errno;
	if (waitpid(pid, &status, __WALL) < 0)
		return -errno;
	return WIFSTOPPED(status) ? 0 : -ESRCH;
}

/* The agent's own table is looked at: it is the one in which the agent closes. */
static void close_remote(struct pz_session *s, int number, int ours)
{
	if (pz_proc_same_file(s->agent, number, getpid(), ours))
		pz_agent_syscall(s, SYS_close, (uint64_t)number, 0, 0);
}

int pz_agent_end(struct pz_session *s)
{
	const struct pz_options *o = &s->options;
	long result = 0;
	int error, status;

	if (s->agent <= 0)
		return 0;
	if (!pz_agent_alive(s)) {
		error = -ESRCH; /* killed by somebody: what it had in the inferior stays there */
	} else if (!s->dead) {
		close_remote(s, o->uffd_number, s->uffd);
		close_remote(s, o->command_number, s->command_fd);
		error = seize(s->agent);
		if (!error)
			error = pz_arch_remote_syscall(s->agent, o->code, SYS_munmap, o->mailbox,
						       PZ_PAGE, &result);
		if (!error)
			error = pz_arch_remote_syscall(s->agent, o->code, SYS_munmap, o->code,
						       o->code_length, &result);
	} else {
		error = 0;
	}
	if (error != -ESRCH)
		kill(s->agent, SIGKILL);
	if (!s->dead && error != -ESRCH)
		waitpid(s->agent, &status, __WALL);
	s->agent = 0;
	return error;
}
