/* A task that shares the target's memory: who sees it, what stops it, what ends it. */
#include "facts.h"

#include <sys/ptrace.h>

#define KCMP_FILE	0
#define KCMP_VM		1
#define MISSING		UFFDIO_REGISTER_MODE_MISSING
#define PAGEZAP_SHARING (CLONE_FS | CLONE_FILES | CLONE_SIGHAND)

static struct target t;
static pid_t agent;

static void begin(unsigned long flags)
{
	t = target_start(2);
	agent = agent_start(&t, 2, flags);
}

static void end(void)
{
	agent_end(&t, agent);
	target_end(&t);
}

static bool is_thread(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return access(path, F_OK) == 0;
}

static void seen(void)
{
	begin(0);
	say_bool("seen.is-a-thread-of-the-target", is_thread(t.pid, agent));
	say_bool("seen.has-its-own-pid", CALL(&t, 2, SYS_getpid) == agent);
	say_bool("seen.same-mm", syscall(SYS_kcmp, agent, t.pid, KCMP_VM, 0, 0) == 0);
	say_result("seen.waitpid-any", CALL(&t, 0, SYS_wait4, -1, 0, WNOHANG, 0));
	say_result("seen.waitpid-WALL", CALL(&t, 0, SYS_wait4, -1, 0, WNOHANG | __WALL, 0));
	kill(agent, SIGKILL);
	WAIT_FOR(task_state(agent, agent) == 'Z' || task_state(agent, agent) == 0);
	say("seen.ended-it-is", "%c", task_state(agent, agent));
	say_result("seen.ended-waitpid-any", CALL(&t, 0, SYS_wait4, -1, 0, WNOHANG, 0));
	say_bool("seen.ended-waitpid-WALL",
		 CALL(&t, 0, SYS_wait4, -1, 0, WNOHANG | __WALL, 0) == agent);
	say_bool("seen.target-lives", CALL(&t, 0, SYS_getpid) == t.pid);
	target_end(&t);
}

static void runs(void)
{
	unsigned long at;
	int status;

	begin(0);
	at = target_map(&t, 1);
	target_fill(&t, at, 1, 7);
	kill(t.pid, SIGSTOP);
	WAIT_FOR(task_state(t.pid, t.pid) == 'T');
	say_result("stopped.agent-zaps", CALL(&t, 2, SYS_madvise, at, PAGE, MADV_DONTNEED));
	say("stopped.target-is", "%c", task_state(t.pid, t.pid));
	say_bool("stopped.page-gone", !present(t.pid, at));
	kill(t.pid, SIGCONT);
	target_fill(&t, at, 1, 7);
	if (ptrace(PTRACE_SEIZE, t.pid, 0, 0) < 0) {
		lacking("traced", "ptrace(2) is not permitted here");
	} else {
		MUST(ptrace(PTRACE_INTERRUPT, t.pid, 0, 0) == 0);
		MUST(waitpid(t.pid, &status, 0) == t.pid);
		say_result("traced.agent-zaps", CALL(&t, 2, SYS_madvise, at, PAGE, MADV_DONTNEED));
		say("traced.target-is", "%c", task_state(t.pid, t.pid));
		say_bool("traced.agent-is-not", task_state(agent, agent) != 't');
		MUST(ptrace(PTRACE_DETACH, t.pid, 0, 0) == 0);
	}
	end();
}

/* CLONE_UNTRACED: a tracer that follows every clone does not get it. */
static void untraced(void)
{
	long options = PTRACE_O_TRACECLONE | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK;

	t = target_start(1);
	if (ptrace(PTRACE_SEIZE, t.pid, 0, options) < 0) {
		lacking("untraced", "ptrace(2) is not permitted here");
		target_end(&t);
		return;
	}
	agent = agent_start(&t, 2, PAGEZAP_SHARING);
	say_bool("untraced.no-stop", waitpid(-1, NULL, __WALL | WNOHANG) == 0);
	say_bool("untraced.works", CALL(&t, 2, SYS_getpid) == agent);
	end();
}

/* With the flags that pagezap uses it shares descriptors and handlers. */
static void shares(void)
{
	struct {
		unsigned long handler, flags, restorer, mask;
	} action = {(unsigned long)SIG_IGN, 0, 0, 0};
	unsigned long at;
	struct iovec here = {&action, sizeof(action)}, there;
	int number;

	begin(PAGEZAP_SHARING);
	at = target_map(&t, 1);
	STORE(&t, 0, at, 0);
	there = (struct iovec){(void *)at, sizeof(action)};
	number = (int)CALL(&t, 2, SYS_eventfd2, 0, 0);
	say_bool("shares.descriptor-appears", CALL(&t, 0, SYS_fcntl, number, F_GETFD, 0) >= 0);
	say_bool("shares.same-file",
		 syscall(SYS_kcmp, agent, t.pid, KCMP_FILE, number, number) == 0);
	MUST(CALL(&t, 2, SYS_close, number) == 0);
	say_result("shares.closed-by-the-agent", CALL(&t, 0, SYS_fcntl, number, F_GETFD, 0));
	MUST(process_vm_writev(t.pid, &here, 1, &there, 1, 0) > 0);
	say_result("shares.rt_sigaction", CALL(&t, 2, SYS_rt_sigaction, SIGTRAP, at, 0, 8));
	MUST(CALL(&t, 0, SYS_rt_sigaction, SIGTRAP, 0, at, 8) == 0);
	MUST(process_vm_readv(t.pid, &here, 1, &there, 1, 0) > 0);
	say_bool("shares.handler-of-the-target", action.handler == (unsigned long)SIG_IGN);
	/* The guard: a SIGTRAP without a debugger ends nobody. */
	say_result("shares.SIGTRAP-survived", CALL(&t, 0, SYS_tgkill, t.pid, t.pid, SIGTRAP));
	say_bool("shares.alive", CALL(&t, 0, SYS_getpid) == t.pid);
	end();

	begin(0);
	number = (int)CALL(&t, 2, SYS_eventfd2, 0, 0);
	say_result("own-table.not-seen", CALL(&t, 0, SYS_fcntl, number, F_GETFD, 0));
	end();
}

/* Its own copy of the table holds a uffd that the target has closed. */
static void lifeline(void)
{
	unsigned long at;
	char line[256];
	int number, fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);

	if (fd < 0) {
		lacking("lifeline", "userfaultfd(2) is not permitted here");
		return;
	}
	close(fd);
	t = target_start(2);
	at = target_map(&t, 1);
	fd = uffd_take(&t, 0, &number);
	MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
	agent = agent_start(&t, 2, 0);
	MUST(CALL(&t, 0, SYS_close, number) == 0);
	close(fd);
	BEGIN_LOAD(&t, 1, at);
	do
		sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	while (strtol(line, NULL, 0) != -1 && !finished(&t, 1));
	say_bool("lifeline.waits-while-the-agent-lives", !finished(&t, 1));
	kill(agent, SIGKILL);
	say("lifeline.reads-when-it-ends", "%ld", result_of(&t, 1));
	CALL(&t, 0, SYS_wait4, agent, 0, __WALL, 0);
	target_end(&t);
}

/* The program ends; the task does not, and the memory neither. */
static void outlives(void)
{
	struct pollfd life;
	unsigned long at;

	prctl(PR_SET_CHILD_SUBREAPER, 1);
	begin(PAGEZAP_SHARING);
	at = target_map(&t, 1);
	target_fill(&t, at, 1, 7);
	life = (struct pollfd){.fd = t.pidfd, .events = POLLIN};
	kill(t.pid, SIGKILL);
	MUST(poll(&life, 1, PATIENCE_MS) == 1);
	MUST(waitpid(t.pid, NULL, 0) == t.pid);
	say_bool("outlives.runs", CALL(&t, 2, SYS_getpid) == agent);
	say("outlives.memory", "%ld", LOAD(&t, 2, at));
	kill(agent, SIGKILL);
	say_bool("outlives.reaped", waitpid(agent, NULL, __WALL) == agent);
	close(t.pidfd);

	/* And over exec: the descriptors of the new program are not the task's. */
	t = target_start(1);
	agent = agent_start(&t, 2, PAGEZAP_SHARING);
	at = target_map(&t, 1);
	target_fill(&t, at, 1, 7);
	{
		static char path[] = "/bin/sleep", seconds[] = "60";
		static char *arguments[] = {path, seconds, NULL}, *environment[] = {NULL};

		BEGIN(&t, 0, SYS_execve, path, arguments, environment);
	}
	WAIT_FOR(syscall(SYS_kcmp, agent, t.pid, KCMP_VM, 0, 0) > 0);
	say_bool("exec.runs", CALL(&t, 2, SYS_getpid) == agent);
	say("exec.old-memory", "%ld", LOAD(&t, 2, at));
	kill(agent, SIGKILL);
	kill(t.pid, SIGKILL);
	MUST(waitpid(t.pid, NULL, 0) == t.pid);
	MUST(waitpid(agent, NULL, __WALL) == agent);
	close(t.pidfd);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

/* Cloned by an intermediate that is reaped at once it is no child of the program. */
static void intermediate(void)
{
	char text[4096], *parent;
	pid_t between;

	t = target_start(1);
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	between = agent_start(&t, 2, PAGEZAP_SHARING);
	t.order[3] = (struct order){0};
	post(&t, 2, order_clone,
	     ARGUMENTS(CLONE_VM | CLONE_UNTRACED | PAGEZAP_SHARING, target_map(&t, 16) + 16 * PAGE,
		       &t.order[3]));
	agent = (pid_t)result_of(&t, 2);
	MUST(agent > 0);
	WAIT_FOR(__atomic_load_n(&t.order[3].tid, __ATOMIC_ACQUIRE));
	agent_end(&t, between);
	MUST(proc_read(agent, "status", text, sizeof(text)) > 0);
	parent = strstr(text, "PPid:");
	say_bool("intermediate.parent-is-the-reaper", parent && atoi(parent + 5) == getpid());
	say_result("intermediate.waitpid-WALL", CALL(&t, 0, SYS_wait4, -1, 0, WNOHANG | __WALL, 0));
	say_bool("intermediate.serves", CALL(&t, 3, SYS_getpid) == agent);
	kill(agent, SIGKILL);
	MUST(waitpid(agent, NULL, __WALL) == agent);
	target_end(&t);
	prctl(PR_SET_CHILD_SUBREAPER, 0);
}

int main(void)
{
	intermediate();
	seen();
	runs();
	untraced();
	shares();
	outlives();
	lifeline();
	return 0;
}
