/* The keeper: outlives the helper and does what is left when the helper is killed. */
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>

#include "pagezap/pagezap.h"

static void keeper_main(struct pz_session *s, int helper)
{
	struct pollfd p[2] = {{.fd = helper, .events = POLLIN}, {.fd = s->pidfd, .events = POLLIN}};

	prctl(PR_SET_NAME, "pagezap-keeper");
	signal(SIGTERM, SIG_IGN);
	/* The inferior's end is the helper's to handle: a child may need its memory still. */
	while (!p[0].revents) {
		if (poll(p, 1, -1) < 0 && errno != EINTR)
			break;
	}
	if (s->shared->finished)
		_exit(0);
	if (poll(&p[1], 1, 0) > 0) {
		kill(s->agent, SIGKILL);
		_exit(0);
	}
	_exit(pz_recover(s) ? 1 : 0);
}

int pz_keeper_start(struct pz_session *s)
{
	pz_autoclose int helper = (int)syscall(SYS_pidfd_open, getpid(), 0);
	pid_t pid;

	if (helper < 0)
		return -errno;
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		setsid();
		keeper_main(s, helper);
		_exit(1);
	}
	s->keeper = pid;
	return 0;
}

/* The ledger of a dead helper is exact but for what it was moving at that instant. */
int pz_recover(struct pz_session *s)
{
	struct pollfd inferior = {.fd = s->pidfd, .events = POLLIN};
	uint64_t refaulted;
	int error;

	s->in_recovery = true;
	s->hold = true;
	pz_region_recover(s);
	pz_ledger_recount(s);
	pz_event_redo(s);
	/* A stash that was cut short while it was registered: no read of it may fault. */
	pz_for_each_region (s, r) {
		if (r->stash)
			pz_uffd_unregister(s->uffd, r->stash, r->end - r->start);
	}
	error = pz_fault_start(s);
	if (error)
		return error;
	/* The agent ends the call it was in; the fault thread reads what it waits for. */
	pz_agent_syscall(s, SYS_getpid, 0, 0, 0);
	pz_bring_moving(s);
	{
		PZ_LOCKED(s);
		s->hold = false;
		pz_for_each_region (s, r)
			pz_uffd_wake(s->uffd, r->start, r->end - r->start);
	}
	/* What is away is held by nobody else: no giving up while the process lives. */
	do {
		error = pz_release(s, false, &refaulted);
		if (error)
			pz_sleep_us(100000);
	} while (error && poll(&inferior, 1, 0) <= 0);
	return error;
}
