/* Others who look at missing and protected pages: /proc/PID/mem, ptrace(2), process_vm_readv(2). */
#include "facts.h"

#include <sys/ptrace.h>

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP

static struct target t;

/* Reads through process_vm_readv in a process of its own; returns that. */
static pid_t reader_start(unsigned long at, int *shared)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	MUST(pid >= 0);
	if (pid == 0) {
		char byte = 0;
		struct iovec here = {&byte, 1}, there = {(void *)at, 1};

		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (process_vm_readv(t.pid, &here, 1, &there, 1, 0) != 1)
			byte = -1;
		*shared = byte;
		_exit(0);
	}
	return pid;
}

int main(void)
{
	uint64_t features = features_or_end();
	int *shared = (int *)own_map(1, MAP_SHARED), number, fd, status;
	unsigned long at;
	struct uffd_msg m;
	pid_t reader;
	char byte = 3, line[256];
	struct iovec here = {&byte, 1}, there;

	t = target_start(1);
	at = target_map(&t, 8);
	target_fill(&t, at, 4, 7);
	MUST(CALL(&t, 0, SYS_madvise, at, 2 * PAGE, MADV_DONTNEED) == 0);
	fd = uffd_take(&t, FEATURE_THREAD_ID | FEATURE_EXACT_ADDRESS, &number);
	MUST(uffd_register(fd, at, 4 * PAGE, MISSING | (features & FEATURE_WP ? WP : 0)) == 0);

	say_result("missing.mem-read", mem_access(t.pid, at, &byte, false));
	say_result("missing.mem-write", mem_access(t.pid, at, &byte, true));
	if (ptrace(PTRACE_SEIZE, t.pid, 0, 0) == 0) {
		MUST(ptrace(PTRACE_INTERRUPT, t.pid, 0, 0) == 0);
		MUST(waitpid(t.pid, &status, 0) == t.pid);
		errno = 0;
		ptrace(PTRACE_PEEKDATA, t.pid, at, 0);
		say_result("missing.PEEKDATA", -errno);
		MUST(ptrace(PTRACE_DETACH, t.pid, 0, 0) == 0);
	} else {
		lacking("missing", "ptrace(2) is not permitted here");
	}
	say_bool("missing.no-event", !uffd_has_event(fd));

	*shared = 0;
	reader = reader_start(at + 9, shared);
	m = uffd_event(fd);
	say_bool("process_vm_readv.blocks", waitpid(reader, &status, WNOHANG) == 0);
	sleeping_line(reader, reader, line, sizeof(line));
	say_bool("process_vm_readv.in-its-own-call", strtol(line, NULL, 0) == SYS_process_vm_readv);
	say_bool("process_vm_readv.ptid-is-the-reader", (pid_t)m.arg.pagefault.feat.ptid == reader);
	say_bool("process_vm_readv.not-a-task-of-the-target",
		 (pid_t)m.arg.pagefault.feat.ptid != t.pid);
	MUST(uffd_copy(fd, at, 9, 0) == 0);
	MUST(waitpid(reader, &status, 0) == reader);
	say("process_vm_readv.reads-what-was-copied", "%d", *shared);

	if (features & FEATURE_WP) {
		MUST(uffd_protect(fd, at + 2 * PAGE, true) == 0);
		byte = 0;
		say("protected.mem-read", "%ld", mem_access(t.pid, at + 2 * PAGE, &byte, false));
		say("protected.mem-read-value", "%d", byte);
		say_result("protected.mem-write", mem_access(t.pid, at + 2 * PAGE, &byte, true));
		there = (struct iovec){(void *)(at + 2 * PAGE), 1};
		say("protected.process_vm_readv", "%zd",
		    process_vm_readv(t.pid, &here, 1, &there, 1, 0));
		say_bool("protected.no-event", !uffd_has_event(fd));
		MUST(uffd_protect(fd, at + 2 * PAGE, false) == 0);
		say("protected.mem-write-afterwards", "%ld",
		    mem_access(t.pid, at + 2 * PAGE, &byte, true));
	} else {
		lacking("protected", "no write-protection");
	}
	close(fd);
	target_end(&t);
	return 0;
}
