/*
 * The agent: a task in the inferior's mm that executes system calls for the
 * helper. Freestanding; no data section, no stack protector, no libc.
 */
#include "syscall.h"

#include "pagezap/mailbox.h"

#define FUTEX_WAIT	0
#define FUTEX_WAKE	1
#define PR_SET_NAME	15
#define SIG_SETMASK	2
#define SIGNAL_SET_SIZE 8
#define ORPHAN_SECONDS	60
#define ETIMEDOUT	110

void pz_agent_main(struct pz_mailbox *mailbox); /* called by the entry */

void pz_agent_main(struct pz_mailbox *mailbox)
{
	unsigned long all = ~0ul;
	char name[16] = "pagezap-agent";
	const long orphan[2] = {ORPHAN_SECONDS, 0};
	unsigned int last;

	agent_syscall(__NR_rt_sigprocmask, SIG_SETMASK, (long)&all, 0, SIGNAL_SET_SIZE, 0, 0);
	agent_syscall(__NR_setsid, 0, 0, 0, 0, 0, 0);
	agent_syscall(__NR_prctl, PR_SET_NAME, (long)name, 0, 0, 0, 0);
	last = __atomic_load_n(&mailbox->done, __ATOMIC_ACQUIRE);
	mailbox->agent_tid = (int)agent_syscall(__NR_gettid, 0, 0, 0, 0, 0, 0);
	__atomic_store_n(&mailbox->ready, PZ_AGENT_READY, __ATOMIC_RELEASE);
	agent_syscall(__NR_futex, (long)&mailbox->ready, FUTEX_WAKE, 1, 0, 0, 0);

	for (;;) {
		long long *a = mailbox->argument;
		unsigned int sequence;

		while ((sequence = __atomic_load_n(&mailbox->sequence, __ATOMIC_ACQUIRE)) == last) {
			const long *limit = last ? 0 : orphan;

			/* No helper ever came: whoever made us is gone. */
			if (agent_syscall(__NR_futex, (long)&mailbox->sequence, FUTEX_WAIT, last,
					  (long)limit, 0, 0) == -ETIMEDOUT)
				agent_syscall(__NR_exit, 0, 0, 0, 0, 0, 0);
		}
		last = sequence;
		mailbox->result =
			agent_syscall(mailbox->number, a[0], a[1], a[2], a[3], a[4], a[5]);
		__atomic_store_n(&mailbox->done, sequence, __ATOMIC_RELEASE);
		agent_syscall(__NR_futex, (long)&mailbox->done, FUTEX_WAKE, 1, 0, 0, 0);
	}
}
