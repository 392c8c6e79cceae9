/* A thread that waits in a fault: what /proc says of it, and what a signal does to it. */
#include "facts.h"

#include <sys/ptrace.h>

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP

static const uint64_t wanted = FEATURE_THREAD_ID | FEATURE_EXACT_ADDRESS;

/* The line's first field, and its last, the program counter. */
static long number_of(const char *line)
{
	return strtol(line, NULL, 0);
}

static unsigned long pc_of(const char *line)
{
	return strtoul(strrchr(line, ' ') + 1, NULL, 16);
}

static void user_mode(void)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 1), pc, sp;
	int number, fd = uffd_take(&t, wanted, &number), fields;
	char line[256], extra;

	MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
	BEGIN_STORE(&t, 1, at + 16, 5);
	uffd_event(fd);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	fields = sscanf(line, "-1 %lx %lx %c", &sp, &pc, &extra);
	say("user.fields", "%d", fields);
	say_bool("user.number-is-minus-1", number_of(line) == -1);
	say_bool("user.exact-pc", pc_of(line) == (unsigned long)store_byte);
	say("user.state", "%c", task_state(t.pid, t.order[1].tid));
	MUST(uffd_zero(fd, at) == 0);
	result_of(&t, 1);
	close(fd);
	target_end(&t);
}

static void kernel_mode(void)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 1), argument[6];
	int number, fd = uffd_take(&t, wanted, &number), file;
	struct uffd_msg m;
	char line[256];
	long call;

	file = (int)CALL(&t, 0, SYS_open, "/proc/self/exe", O_RDONLY);
	MUST(file >= 0);
	MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
	BEGIN(&t, 1, SYS_read, file, at + 100, 8);
	m = uffd_event(fd);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	MUST(sscanf(line, "%ld %lx %lx %lx", &call, &argument[0], &argument[1], &argument[2]) == 4);
	say_bool("kernel.number", call == SYS_read);
	say_bool("kernel.arguments",
		 (int)argument[0] == file && argument[1] == at + 100 && argument[2] == 8);
	say_bool("kernel.event-is-a-write", m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE);
	say_bool("kernel.address",
		 m.arg.pagefault.address >= at + 100 && m.arg.pagefault.address < at + 108);
	MUST(uffd_zero(fd, at) == 0);
	say("kernel.read-returns", "%ld", result_of(&t, 1));
	say("kernel.read-content", "%ld", LOAD(&t, 0, at + 100));
	close(fd);
	target_end(&t);
}

static void stop_of(pid_t tid, int *ret)
{
	MUST(waitpid(tid, ret, __WALL) == tid);
	MUST(WIFSTOPPED(*ret));
}

/* Under a tracer: stopped at the instruction, before the access; the access comes again. */
static void signalled(void)
{
	static const int signals[] = {SIGSTOP, SIGTRAP};
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 2);
	int number, fd = uffd_take(&t, wanted, &number), status;
	pid_t tid = t.order[1].tid;
	struct uffd_msg m;
	char key[64], byte;
	siginfo_t info;

	MUST(uffd_register(fd, at, 2 * PAGE, MISSING) == 0);
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) {
		lacking("SIGSTOP", "ptrace(2) is not permitted here");
		lacking("SIGTRAP", "ptrace(2) is not permitted here");
		goto end;
	}
	for (int i = 0; i < 2; i++) {
		unsigned long page = at + (unsigned long)i * PAGE;
		unsigned long long pc;

		info = (siginfo_t){.si_signo = signals[i], .si_code = SI_QUEUE};
		info.si_value.sival_ptr = (void *)(page + 24);
		BEGIN_STORE(&t, 1, page + 24, 5);
		uffd_event(fd);
		MUST(RAW(SYS_rt_tgsigqueueinfo, t.pid, tid, signals[i], &info) == 0);
		stop_of(tid, &status);
		snprintf(key, sizeof(key), "SIG%s.stop-signal", sigabbrev_np(signals[i]));
		say(key, "SIG%s", sigabbrev_np(WSTOPSIG(status)));
		memset(&info, 0, sizeof(info));
		MUST(ptrace(PTRACE_GETSIGINFO, tid, 0, &info) == 0);
		snprintf(key, sizeof(key), "SIG%s.siginfo-kept", sigabbrev_np(signals[i]));
		say_bool(key, info.si_code == SI_QUEUE &&
				      info.si_value.sival_ptr == (void *)(page + 24));
		errno = 0;
		pc = (unsigned long long)ptrace(PTRACE_PEEKUSER, tid, 16 * 8, 0);
		MUST(errno == 0);
		snprintf(key, sizeof(key), "SIG%s.exact-pc", sigabbrev_np(signals[i]));
		say_bool(key, pc == (unsigned long)store_byte);
		snprintf(key, sizeof(key), "SIG%s.page-still-missing", sigabbrev_np(signals[i]));
		say_bool(key, mem_access(t.pid, page, &byte, false) == -EIO);
		snprintf(key, sizeof(key), "SIG%s.no-event-while-stopped",
			 sigabbrev_np(signals[i]));
		say_bool(key, !uffd_has_event(fd));
		MUST(ptrace(PTRACE_CONT, tid, 0, 0) == 0);
		m = uffd_event(fd);
		snprintf(key, sizeof(key), "SIG%s.faults-again", sigabbrev_np(signals[i]));
		say_bool(key, m.arg.pagefault.address == page + 24);
		MUST(uffd_zero(fd, page) == 0);
		result_of(&t, 1);
		snprintf(key, sizeof(key), "SIG%s.store-done", sigabbrev_np(signals[i]));
		say(key, "%ld", LOAD(&t, 0, page + 24));
	}
end:
	close(fd);
	target_end(&t);
}

/* The same before a write to a protected page. */
static void write_protected(uint64_t features)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 1);
	int number, fd = uffd_take(&t, wanted, &number), status;
	pid_t tid = t.order[1].tid;
	char line[256], byte = 0;

	if (!(features & FEATURE_WP)) {
		lacking("protected", "no write-protection");
		goto end;
	}
	target_fill(&t, at, 1, 7);
	MUST(uffd_register(fd, at, PAGE, MISSING | WP) == 0);
	MUST(uffd_protect(fd, at, true) == 0);
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) {
		lacking("protected", "ptrace(2) is not permitted here");
		goto end;
	}
	BEGIN_STORE(&t, 1, at, 9);
	uffd_event(fd);
	sleeping_line(t.pid, tid, line, sizeof(line));
	say_bool("protected.exact-pc",
		 number_of(line) == -1 && pc_of(line) == (unsigned long)store_byte);
	MUST(RAW(SYS_tgkill, t.pid, tid, SIGSTOP) == 0);
	stop_of(tid, &status);
	MUST(mem_access(t.pid, at, &byte, false) == 1);
	say("protected.old-content", "%d", byte);
	MUST(uffd_protect(fd, at, false) == 0);
	MUST(ptrace(PTRACE_SINGLESTEP, tid, 0, 0) == 0);
	stop_of(tid, &status);
	MUST(mem_access(t.pid, at, &byte, false) == 1);
	say("protected.one-step-writes", "%d", byte);
	MUST(ptrace(PTRACE_CONT, tid, 0, 0) == 0);
	result_of(&t, 1);
end:
	close(fd);
	target_end(&t);
}

/* In kernel mode the stop waits until the fault is served. */
static void kernel_signalled(void)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 1);
	int number, fd = uffd_take(&t, wanted, &number), status = 0;
	pid_t tid = t.order[1].tid;
	int events = 0;

	MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
	if (ptrace(PTRACE_SEIZE, tid, 0, 0) < 0) {
		lacking("kernel-signal", "ptrace(2) is not permitted here");
		goto end;
	}
	BEGIN(&t, 1, SYS_getrandom, at, 8, 0);
	uffd_event(fd);
	MUST(RAW(SYS_tgkill, t.pid, tid, SIGSTOP) == 0);
	/* It spins: the same fault comes again and again. */
	while (events < 20) {
		uffd_event(fd);
		events++;
	}
	say_bool("kernel-signal.same-fault-again-and-again", events == 20);
	say_bool("kernel-signal.does-not-stop", waitpid(tid, &status, __WALL | WNOHANG) == 0);
	MUST(uffd_zero(fd, at) == 0);
	stop_of(tid, &status);
	say("kernel-signal.stops-when-served", "SIG%s", sigabbrev_np(WSTOPSIG(status)));
	MUST(ptrace(PTRACE_CONT, tid, 0, 0) == 0);
	say("kernel-signal.call-returns", "%ld", result_of(&t, 1));
end:
	close(fd);
	target_end(&t);
}

int main(void)
{
	uint64_t features = features_or_end();

	user_mode();
	kernel_mode();
	signalled();
	write_protected(features);
	kernel_signalled();
	return 0;
}
