/* Who holds the userfaultfd decides what a missing page is: served, waiting or zero. */
#include "facts.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING

static struct target t;
static int fd, number;
static unsigned long at;

static void begin(int threads, uint64_t wanted)
{
	t = target_start(threads);
	at = target_map(&t, 4);
	fd = uffd_take(&t, wanted, &number);
	MUST(uffd_register(fd, at, 4 * PAGE, MISSING) == 0);
}

static void end(void)
{
	if (fd >= 0)
		close(fd);
	target_end(&t);
}

static void last_close(void)
{
	char line[256];

	begin(2, 0);
	MUST(CALL(&t, 0, SYS_close, number) == 0);
	BEGIN_LOAD(&t, 1, at);
	uffd_event(fd);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	say_bool("closed.waits-before", !finished(&t, 1));
	close(fd);
	fd = -1;
	say("closed.waiter-reads", "%ld", result_of(&t, 1));
	say("closed.next-reads", "%ld", LOAD(&t, 0, at + PAGE));
	say_bool("closed.registration-gone", !vm_flag(t.pid, at, " um"));
	end();
}

/* The inferior's own descriptor stays: nobody serves, everybody waits, nothing is lost. */
static void held(void)
{
	char line[256];
	struct uffd_msg m;

	begin(2, FEATURE_THREAD_ID);
	BEGIN_LOAD(&t, 1, at);
	m = uffd_event(fd); /* read, and never answered */
	close(fd);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	say_bool("held.waits", !finished(&t, 1) && strtol(line, NULL, 0) == -1);
	say_bool("held.registration-stays", vm_flag(t.pid, at, " um"));
	/* A successor. The fault was read by a reader who died: it comes again after a wake. */
	fd = (int)syscall(SYS_pidfd_getfd, t.pidfd, number, 0);
	MUST(fd >= 0);
	say_bool("held.read-fault-is-not-told-again", !uffd_has_event(fd));
	say_result("held.WAKE", uffd_wake(fd, at));
	m = uffd_event(fd);
	say_bool("held.told-after-WAKE", (int)m.arg.pagefault.feat.ptid == t.order[1].tid);
	MUST(uffd_copy(fd, at, 5, 0) == 0);
	say("held.content", "%ld", result_of(&t, 1));
	end();

	/* A fault nobody read is told to the successor at once. */
	begin(2, FEATURE_THREAD_ID);
	BEGIN_LOAD(&t, 1, at);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	{
		struct pollfd p = {.fd = fd, .events = POLLIN};

		MUST(poll(&p, 1, PATIENCE_MS) == 1);
	}
	close(fd);
	fd = (int)syscall(SYS_pidfd_getfd, t.pidfd, number, 0);
	MUST(fd >= 0);
	say_bool("held.unread-fault-is-told", uffd_has_event(fd));
	end();

	/* The waiting is killable. */
	begin(2, 0);
	BEGIN_LOAD(&t, 1, at);
	uffd_event(fd);
	close(fd);
	fd = -1;
	target_end(&t);
	say_bool("held.killable", true);
}

static void crowd(void)
{
	bool each = true;
	int seen[8] = {0};

	begin(6, FEATURE_THREAD_ID);
	for (int i = 1; i < 6; i++)
		BEGIN_LOAD(&t, i, at + (unsigned long)i);
	for (int i = 1; i < 6; i++) {
		struct uffd_msg m = uffd_event(fd);

		for (int k = 1; k < 6; k++)
			seen[k] += (int)m.arg.pagefault.feat.ptid == t.order[k].tid;
	}
	for (int i = 1; i < 6; i++)
		each = each && seen[i] == 1;
	say_bool("crowd.five-events-one-each", each);
	say_bool("crowd.no-more", !uffd_has_event(fd));
	say_result("crowd.one-COPY", uffd_copy(fd, at, 5, 0));
	each = true;
	for (int i = 1; i < 6; i++)
		each = each && result_of(&t, i) == 5;
	say_bool("crowd.wakes-all", each);
	say_result("crowd.second-COPY", uffd_copy(fd, at, 6, 0));
	say("crowd.content-stays", "%ld", LOAD(&t, 0, at));
	end();
}

/* The program ends or executes another: the descriptor answers, poll does not tell. */
static void dead(void)
{
	struct pollfd p;
	struct pollfd life;

	begin(1, 0);
	life = (struct pollfd){.fd = t.pidfd, .events = POLLIN};
	kill(t.pid, SIGKILL);
	MUST(poll(&life, 1, PATIENCE_MS) == 1);
	MUST(waitpid(t.pid, NULL, 0) == t.pid);
	say_bool("dead.pidfd-tells", life.revents & POLLIN);
	say_result("dead.COPY", uffd_copy(fd, at, 5, 0));
	say_result("dead.WAKE", uffd_wake(fd, at));
	p = (struct pollfd){.fd = fd, .events = POLLIN};
	say("dead.poll", "%d", poll(&p, 1, 0));
	close(fd);
	close(t.pidfd);
}

static void executed(void)
{
	static char path[] = "/bin/sleep", seconds[] = "60";
	static char *arguments[] = {path, seconds, NULL}, *environment[] = {NULL};

	begin(1, FEATURE_EVENT_UNMAP);
	BEGIN(&t, 0, SYS_execve, path, arguments, environment);
	WAIT_FOR(uffd_copy(fd, at, 5, 0) == -ESRCH);
	say_result("executed.COPY", uffd_copy(fd, at, 5, 0));
	say_bool("executed.no-event", !uffd_has_event(fd));
	end();
}

int main(void)
{
	features_or_end();
	last_close();
	held();
	crowd();
	dead();
	executed();
	return 0;
}
