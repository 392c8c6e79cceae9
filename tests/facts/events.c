/* What the program does to its mappings: events that block it until they are read. */
#include "facts.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING

static struct target t;
static int fd, number;
static unsigned long at;

static void begin(uint64_t wanted)
{
	t = target_start(3);
	at = target_map(&t, 8);
	target_fill(&t, at, 8, 7);
	fd = uffd_take(&t, wanted, &number);
	MUST(uffd_register(fd, at, 8 * PAGE, MISSING) == 0);
}

static void end(void)
{
	close(fd);
	target_end(&t);
}

/* Posts a call that raises an event; whether it waits for the event to be read. */
static void told(const char *topic, bool waits, bool again)
{
	char key[64];

	snprintf(key, sizeof(key), "%s.caller-waits", topic);
	say_bool(key, waits);
	snprintf(key, sizeof(key), "%s.COPY-meanwhile", topic);
	say(key, "%s", again ? "EAGAIN" : "other");
}

/* The event is there and not read: what does a COPY of another page say? */
static bool busy(unsigned long page)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	char line[256];

	MUST(poll(&p, 1, PATIENCE_MS) == 1);
	sleeping_line(t.pid, t.order[1].tid, line, sizeof(line));
	return uffd_copy(fd, page, 3, 0) == -EAGAIN;
}

static void remove_event(void)
{
	struct uffd_msg m;
	bool again;

	begin(FEATURE_EVENT_REMOVE);
	MUST(uffd_unregister(fd, at + 7 * PAGE, PAGE) == 0);
	MUST(CALL(&t, 0, SYS_madvise, at + 7 * PAGE, PAGE, MADV_DONTNEED) == 0);
	MUST(uffd_register(fd, at + 7 * PAGE, PAGE, MISSING) == 0);
	BEGIN(&t, 1, SYS_madvise, at, 2 * PAGE, MADV_DONTNEED);
	again = busy(at + 7 * PAGE);
	told("REMOVE", !finished(&t, 1), again);
	say_bool("REMOVE.page-still-there", present(t.pid, at));
	m = uffd_event(fd);
	say_bool("REMOVE.event", m.event == UFFD_EVENT_REMOVE && m.arg.remove.start == at &&
					 m.arg.remove.end == at + 2 * PAGE);
	say_result("REMOVE.result", result_of(&t, 1));
	say_bool("REMOVE.page-gone", !present(t.pid, at));
	say_result("REMOVE.COPY-afterwards", uffd_copy(fd, at + 7 * PAGE, 3, 0));
	end();
}

static void unmap_event(void)
{
	struct uffd_msg m;
	bool again;

	begin(FEATURE_EVENT_UNMAP);
	MUST(CALL(&t, 0, SYS_madvise, at + 7 * PAGE, PAGE, MADV_DONTNEED) == 0);
	BEGIN(&t, 1, SYS_munmap, at, 2 * PAGE);
	again = busy(at + 7 * PAGE);
	told("UNMAP", !finished(&t, 1), again);
	m = uffd_event(fd);
	say_bool("UNMAP.event", m.event == UFFD_EVENT_UNMAP && m.arg.remove.start == at &&
					m.arg.remove.end == at + 2 * PAGE);
	say_result("UNMAP.result", result_of(&t, 1));
	BEGIN(&t, 1, SYS_mmap, at + 3 * PAGE, PAGE, PROT_READ,
	      MAP_FIXED | MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	m = uffd_event(fd);
	say_bool("UNMAP.by-mmap-MAP_FIXED",
		 m.event == UFFD_EVENT_UNMAP && m.arg.remove.start == at + 3 * PAGE);
	result_of(&t, 1);
	end();
}

static void remap_event(void)
{
	struct uffd_msg m;
	unsigned long to;
	bool again;

	begin(FEATURE_EVENT_REMAP | FEATURE_EVENT_UNMAP);
	to = target_map(&t, 4);
	MUST(CALL(&t, 0, SYS_madvise, at + 7 * PAGE, PAGE, MADV_DONTNEED) == 0);
	BEGIN(&t, 1, SYS_mremap, at, 2 * PAGE, 2 * PAGE, MREMAP_MAYMOVE | MREMAP_FIXED, to);
	again = busy(at + 7 * PAGE);
	told("REMAP", !finished(&t, 1), again);
	m = uffd_event(fd);
	say_bool("REMAP.event", m.event == UFFD_EVENT_REMAP && m.arg.remap.from == at &&
					m.arg.remap.to == to && m.arg.remap.len == 2 * PAGE);
	m = uffd_event(fd);
	say_bool("REMAP.then-UNMAP", m.event == UFFD_EVENT_UNMAP && m.arg.remove.start == at);
	say_bool("REMAP.result", result_of(&t, 1) == (long)to);
	say_bool("REMAP.registration-moves", vm_flag(t.pid, to, " um"));
	end();

	begin(0);
	to = target_map(&t, 4);
	say_bool("no-EVENT_REMAP.result", CALL(&t, 1, SYS_mremap, at, 2 * PAGE, 2 * PAGE,
					       MREMAP_MAYMOVE | MREMAP_FIXED, to) == (long)to);
	say_bool("no-EVENT_REMAP.registration-dropped", !vm_flag(t.pid, to, " um"));
	end();
}

static long order_fork(unsigned long *a)
{
	long child = RAW(SYS_fork);

	if (child == 0) {
		/* The child tells what it reads, through the shared order. */
		__atomic_store_n((long *)a[1], load_byte(a[0]) + 1, __ATOMIC_RELEASE);
		RAW(SYS_exit_group, 0);
	}
	return child;
}

static void fork_event(void)
{
	long *seen;
	struct uffd_msg m;
	long child;
	bool again;
	int taken;

	/* Without the event the child's page is empty. */
	begin(0);
	seen = &t.order[MAX_ORDERS - 1].result;
	MUST(CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED) == 0);
	post(&t, 1, order_fork, ARGUMENTS(at, seen));
	child = result_of(&t, 1);
	MUST(child > 0 && CALL(&t, 0, SYS_wait4, child, 0, 0, 0) == child);
	say("no-EVENT_FORK.child-reads", "%ld", *seen - 1);
	say_bool("no-EVENT_FORK.no-event", !uffd_has_event(fd));
	end();

	begin(0);
	{
		struct uffdio_api api = {.api = UFFD_API, .features = FEATURE_EVENT_FORK};
		int probe = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
		int error = xioctl(probe, UFFDIO_API, &api);

		close(probe);
		end();
		if (error) {
			lacking("FORK", "EVENT_FORK needs CAP_SYS_PTRACE");
			return;
		}
	}
	begin(FEATURE_EVENT_FORK | FEATURE_EVENT_REMOVE);
	seen = &t.order[MAX_ORDERS - 1].result;
	BEGIN(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED);
	MUST(uffd_event(fd).event == UFFD_EVENT_REMOVE);
	MUST(result_of(&t, 0) == 0);
	post(&t, 1, order_fork, ARGUMENTS(at, seen));
	again = busy(at);
	told("FORK", !finished(&t, 1), again);
	m = uffd_event(fd);
	say_bool("FORK.event", m.event == UFFD_EVENT_FORK);
	taken = (int)m.arg.fork.ufd;
	child = result_of(&t, 1);
	MUST(child > 0);
	m = uffd_event(taken);
	say_bool("FORK.child-faults-in-the-new-uffd",
		 m.event == UFFD_EVENT_PAGEFAULT && m.arg.pagefault.address == at);
	say_result("FORK.COPY-into-the-child", uffd_copy(taken, at, 6, 0));
	MUST(CALL(&t, 0, SYS_wait4, child, 0, 0, 0) == child);
	say("FORK.child-reads", "%ld", *seen - 1);
	say_bool("FORK.parent-stays-missing", !present(t.pid, at));
	close(taken);

	/* Closing the child's descriptor: it gives zeros instead of waiting. */
	*seen = 0;
	post(&t, 1, order_fork, ARGUMENTS(at, seen));
	m = uffd_event(fd);
	MUST(m.event == UFFD_EVENT_FORK);
	child = result_of(&t, 1);
	close((int)m.arg.fork.ufd);
	MUST(CALL(&t, 0, SYS_wait4, child, 0, 0, 0) == child);
	say("FORK.child-reads-once-closed", "%ld", *seen - 1);
	end();
}

int main(void)
{
	features_or_end();
	remove_event();
	unmap_event();
	remap_event();
	fork_event();
	return 0;
}
