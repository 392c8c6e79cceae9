/* What process_madvise(2) and madvise(2) do, to whom and by whom. */
#include "facts.h"

#define PIDFD_SELF_GROUP (-10001)
#define PIDFD_SELF_TASK	 (-10000)

static const struct {
	const char *name;
	int advice;
} advices[] = {
	{"COLD", MADV_COLD},
	{"PAGEOUT", MADV_PAGEOUT},
	{"WILLNEED", MADV_WILLNEED},
	{"COLLAPSE", MADV_COLLAPSE},
	{"DONTNEED", MADV_DONTNEED},
	{"DONTNEED_LOCKED", MADV_DONTNEED_LOCKED},
	{"FREE", MADV_FREE},
	{"REMOVE", MADV_REMOVE},
	{"POPULATE_READ", MADV_POPULATE_READ},
	{"POPULATE_WRITE", MADV_POPULATE_WRITE},
	{"GUARD_INSTALL", ADVICE_GUARD_INSTALL},
	{"GUARD_REMOVE", ADVICE_GUARD_REMOVE},
};

static long advise(int pidfd, unsigned long at, size_t length, int advice)
{
	struct iovec v = {(void *)at, length};

	return RAW(SYS_process_madvise, pidfd, &v, 1, advice, 0);
}

/* Which advice another process is allowed to give. */
static void remote(void)
{
	const unsigned long huge = 2ul << 20;
	struct target t = target_start(1);
	unsigned long at = target_map(&t, 2 * huge / PAGE);
	char key[64];

	at = (at + huge - 1) & ~(huge - 1);
	CALL(&t, 0, SYS_madvise, at, huge, MADV_HUGEPAGE);
	target_fill(&t, at, 16, 7);
	if (advise(t.pidfd, at, PAGE, MADV_COLD) == -EPERM) {
		lacking("remote", "advice to another process needs CAP_SYS_NICE");
		lacking("remote-content", "advice to another process needs CAP_SYS_NICE");
		target_end(&t);
		return;
	}
	for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
		/* Only COLLAPSE wants a whole huge page's room. */
		size_t length = advices[i].advice == MADV_COLLAPSE ? huge : 16 * PAGE;
		long result = advise(t.pidfd, at, length, advices[i].advice);

		snprintf(key, sizeof(key), "remote.%s", advices[i].name);
		say_result(key, result == (long)length ? 0 : result);
	}
	say("remote-content.first", "%ld", LOAD(&t, 0, at));
	target_end(&t);
}

/* A task with the same mm may give any, also through a pidfd. */
static void shared_mm(void)
{
	struct target t = target_start(1);
	unsigned long at = target_map(&t, 4), v = target_map(&t, 1);
	pid_t agent = agent_start(&t, 1, 0);
	struct iovec local = {(void *)at, PAGE};
	struct iovec here = {&local, sizeof(local)}, there = {(void *)v, sizeof(local)};
	long pidfd;

	target_fill(&t, at, 4, 7);
	say_result("shared-mm.madvise-DONTNEED",
		   CALL(&t, 1, SYS_madvise, at + PAGE, PAGE, MADV_DONTNEED));
	say_bool("shared-mm.madvise-zapped", !present(t.pid, at + PAGE));
	MUST(process_vm_writev(t.pid, &here, 1, &there, 1, 0) > 0);
	pidfd = CALL(&t, 1, SYS_pidfd_open, t.pid, 0);
	MUST(pidfd >= 0);
	say_bool("shared-mm.process_madvise-DONTNEED",
		 CALL(&t, 1, SYS_process_madvise, pidfd, v, 1, MADV_DONTNEED, 0) == (long)PAGE);
	say_bool("shared-mm.process_madvise-zapped", !present(t.pid, at));
	say_bool("shared-mm.neighbour-stays", present(t.pid, at + 2 * PAGE));
	agent_end(&t, agent);
	target_end(&t);
}

static void self(void)
{
	char *at = own_map(8, 0);
	struct iovec v[3] = {{at, PAGE}, {at + 2 * PAGE, 2 * PAGE}, {at + 6 * PAGE, PAGE}};
	struct iovec *many = calloc(1025, sizeof(*many));
	char *reserve, *big;
	const size_t size = 3ul << 30;
	long result;

	memset(at, 7, 8 * PAGE);
	result = RAW(SYS_process_madvise, PIDFD_SELF_GROUP, v, 3, MADV_DONTNEED, 0);
	if (result == -EBADF || result == -EINVAL) {
		lacking("self", "no PIDFD_SELF, or other advice on self is refused");
		lacking("partial", "no PIDFD_SELF, or other advice on self is refused");
		return;
	}
	say("self.three-ranges", "%ld", result);
	say("self.zapped", "%d%d%d%d%d%d%d%d", at[0] == 0, at[PAGE] == 0, at[2 * PAGE] == 0,
	    at[3 * PAGE] == 0, at[4 * PAGE] == 0, at[5 * PAGE] == 0, at[6 * PAGE] == 0,
	    at[7 * PAGE] == 0);
	at[0] = 7;
	say("self.PIDFD_SELF_THREAD", "%ld",
	    RAW(SYS_process_madvise, PIDFD_SELF_TASK, v, 1, MADV_DONTNEED, 0));
	for (int i = 0; i < 1025; i++)
		many[i] = (struct iovec){at, PAGE};
	say("self.1024-ranges", "%ld",
	    RAW(SYS_process_madvise, PIDFD_SELF_GROUP, many, 1024, MADV_DONTNEED, 0));
	say_result("self.1025-ranges",
		   RAW(SYS_process_madvise, PIDFD_SELF_GROUP, many, 1025, MADV_DONTNEED, 0));
	big = mmap(NULL, size, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	MUST(big != MAP_FAILED);
	say("self.3GiB", "%ld", advise(PIDFD_SELF_GROUP, (unsigned long)big, size, MADV_DONTNEED));
	munmap(big, size);
	free(many);

	/* A hole in the middle: {ok, hole, ok}. */
	reserve = own_map(6, 0);
	memset(reserve, 7, 6 * PAGE);
	MUST(munmap(reserve + 2 * PAGE, 2 * PAGE) == 0);
	v[0] = (struct iovec){reserve, PAGE};
	v[1] = (struct iovec){reserve + 2 * PAGE, PAGE};
	v[2] = (struct iovec){reserve + 4 * PAGE, PAGE};
	say("partial.process_madvise", "%ld",
	    RAW(SYS_process_madvise, PIDFD_SELF_GROUP, v, 3, MADV_DONTNEED, 0));
	say_bool("partial.before-zapped", reserve[0] == 0);
	say_bool("partial.after-zapped", reserve[4 * PAGE] == 0);
	v[0] = v[1];
	say_result("partial.hole-first",
		   RAW(SYS_process_madvise, PIDFD_SELF_GROUP, v, 1, MADV_DONTNEED, 0));
}

static void hole(void)
{
	char *at = own_map(6, 0);

	memset(at, 7, 6 * PAGE);
	MUST(munmap(at + 2 * PAGE, 2 * PAGE) == 0);
	say_result("hole.madvise", RAW(SYS_madvise, at, 6 * PAGE, MADV_DONTNEED));
	say_bool("hole.before-zapped", at[0] == 0 && at[PAGE] == 0);
	say_bool("hole.after-zapped", at[4 * PAGE] == 0 && at[5 * PAGE] == 0);
}

static void locked(void)
{
	char *at = own_map(4, 0);

	memset(at, 7, 4 * PAGE);
	if (mlock(at + 2 * PAGE, PAGE) < 0) {
		lacking("locked", "mlock(2) is not permitted here");
		return;
	}
	say_result("locked.DONTNEED", RAW(SYS_madvise, at + 2 * PAGE, PAGE, MADV_DONTNEED));
	say_bool("locked.DONTNEED-zapped", at[2 * PAGE] == 0);
	say_result("locked.across", RAW(SYS_madvise, at, 4 * PAGE, MADV_DONTNEED));
	say("locked.across-zapped", "%d%d%d%d", at[0] == 0, at[PAGE] == 0, at[2 * PAGE] == 0,
	    at[3 * PAGE] == 0);
	say_result("locked.DONTNEED_LOCKED",
		   RAW(SYS_madvise, at + 2 * PAGE, PAGE, MADV_DONTNEED_LOCKED));
	say_bool("locked.DONTNEED_LOCKED-zapped", at[2 * PAGE] == 0);
}

/* What is left of memory with a file behind it. */
static void backed(void)
{
	int file = open(".", O_TMPFILE | O_RDWR, 0600), memory = memfd_create("fact", MFD_CLOEXEC);
	char *private, *shared, *shmem;

	MUST(file >= 0 && memory >= 0);
	MUST(ftruncate(memory, PAGE) == 0 && ftruncate(file, PAGE) == 0);
	MUST(pwrite(file, "file", 4, 0) == 4);
	private = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE, file, 0);
	shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	shmem = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
	MUST(private != MAP_FAILED && shared != MAP_FAILED && shmem != MAP_FAILED);
	strcpy(private, "mine");
	strcpy(shmem, "kept");
	say_result("backed.private", RAW(SYS_madvise, private, PAGE, MADV_DONTNEED));
	say("backed.private-content", "%s", private);
	strcpy(shared, "ours");
	say_result("backed.shared", RAW(SYS_madvise, shared, PAGE, MADV_DONTNEED));
	say("backed.shared-content", "%s", shared);
	say_result("backed.shmem", RAW(SYS_madvise, shmem, PAGE, MADV_DONTNEED));
	say("backed.shmem-content", "%s", shmem);
	say_result("backed.shmem-REMOVE", RAW(SYS_madvise, shmem, PAGE, MADV_REMOVE));
	say("backed.shmem-REMOVE-first-byte", "%d", shmem[0]);
}

/* Shared memory of another process is emptied without its help. */
static void punch(void)
{
	struct target t = target_start(1);
	long at = CALL(&t, 0, SYS_mmap, 0, 4 * PAGE, PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	char path[96];
	int fd;

	MUST(at > 0);
	target_fill(&t, (unsigned long)at, 4, 7);
	snprintf(path, sizeof(path), "/proc/%d/map_files/%lx-%lx", t.pid, at, at + 4 * PAGE);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) {
		lacking("punch", "map_files cannot be opened without privilege");
	} else {
		say_result("punch.fallocate",
			   RAW(SYS_fallocate, fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, PAGE,
			       PAGE));
		say("punch.contents", "%ld%ld%ld%ld", LOAD(&t, 0, at), LOAD(&t, 0, at + PAGE),
		    LOAD(&t, 0, at + 2 * PAGE), LOAD(&t, 0, at + 3 * PAGE));
		close(fd);
	}
	target_end(&t);
}

static void guard(void)
{
	struct target t = target_start(1);
	unsigned long at = target_map(&t, 1);
	char byte;

	if (CALL(&t, 0, SYS_madvise, at, PAGE, ADVICE_GUARD_INSTALL)) {
		lacking("guard", "no MADV_GUARD_INSTALL");
	} else {
		say_result("guard.DONTNEED", CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED));
		say_result("guard.then-read", mem_access(t.pid, at, &byte, false));
		say_result("guard.REMOVE", CALL(&t, 0, SYS_madvise, at, PAGE, ADVICE_GUARD_REMOVE));
		say_result("guard.REMOVE-then-read", mem_access(t.pid, at, &byte, false));
	}
	target_end(&t);
}

static void sealed(void)
{
	char *at = own_map(1, 0);

	at[0] = 7;
	MUST(mprotect(at, PAGE, PROT_READ) == 0);
	if (RAW(462 /* mseal */, at, PAGE, 0)) {
		lacking("sealed", "no mseal(2)");
		return;
	}
	say_result("sealed.DONTNEED", RAW(SYS_madvise, at, PAGE, MADV_DONTNEED));
	say("sealed.content", "%d", at[0]);
}

int main(void)
{
	remote();
	shared_mm();
	self();
	hole();
	locked();
	backed();
	punch();
	guard();
	sealed();
	return 0;
}
