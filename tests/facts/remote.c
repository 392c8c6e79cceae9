/* A userfaultfd made in the target and used from outside: what can be registered and done. */
#include "facts.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP

static void operations(uint64_t features)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 8);
	struct uffd_msg m;
	uint64_t wp = features & FEATURE_WP ? WP : 0;
	int number, fd = uffd_take(&t, FEATURE_THREAD_ID | FEATURE_EXACT_ADDRESS, &number);

	say_bool("register.um-before", vm_flag(t.pid, at, " um"));
	say_result("register.anonymous", uffd_register(fd, at, 8 * PAGE, MISSING | wp));
	say_bool("register.um", vm_flag(t.pid, at, " um"));
	say_bool("register.uw", vm_flag(t.pid, at, " uw") == !!wp);

	BEGIN_LOAD(&t, 1, at + 5);
	m = uffd_event(fd);
	say_bool("event.is-pagefault", m.event == UFFD_EVENT_PAGEFAULT);
	say_bool("event.exact-address", m.arg.pagefault.address == at + 5);
	say_bool("event.tid", (int)m.arg.pagefault.feat.ptid == t.order[1].tid);
	say("event.read-flags", "%llu", (unsigned long long)m.arg.pagefault.flags);
	say_bool("event.waits", !finished(&t, 1));
	say_result("resolve.COPY", uffd_copy(fd, at, 9, 0));
	say("resolve.COPY-value", "%ld", result_of(&t, 1));
	say_result("resolve.COPY-again", uffd_copy(fd, at, 9, 0));

	BEGIN_STORE(&t, 1, at + PAGE, 5);
	m = uffd_event(fd);
	say("event.write-flags", "%llu", (unsigned long long)m.arg.pagefault.flags);
	say_result("resolve.ZEROPAGE", uffd_zero(fd, at + PAGE));
	say("resolve.ZEROPAGE-then-store", "%ld", result_of(&t, 1));

	BEGIN_LOAD(&t, 1, at + 2 * PAGE);
	m = uffd_event(fd);
	/* A wake alone sends the thread back into its fault. */
	say_result("wake.WAKE", uffd_wake(fd, at + 2 * PAGE));
	m = uffd_event(fd);
	say_bool("wake.faults-again", m.arg.pagefault.address == at + 2 * PAGE);
	MUST(uffd_zero(fd, at + 2 * PAGE) == 0);
	result_of(&t, 1);

	say_result("unregister.UNREGISTER", uffd_unregister(fd, at, 8 * PAGE));
	say_bool("unregister.um", vm_flag(t.pid, at, " um"));
	say("unregister.missing-reads", "%ld", LOAD(&t, 0, at + 7 * PAGE));
	close(fd);
	target_end(&t);
}

static void protection(uint64_t features)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 4);
	struct uffd_msg m;
	char byte = 0;
	int number, fd = uffd_take(&t, FEATURE_THREAD_ID | FEATURE_EXACT_ADDRESS, &number);

	if (!(features & FEATURE_WP)) {
		lacking("protect", "no write-protection");
		close(fd);
		target_end(&t);
		return;
	}
	target_fill(&t, at, 3, 7);
	MUST(uffd_register(fd, at, 4 * PAGE, MISSING | WP) == 0);
	say_result("protect.arm", uffd_protect(fd, at, true));
	say_result(
		"protect.arm-with-DONTWAKE",
		uffd_protect_mode(fd, at + PAGE, PAGE,
				  UFFDIO_WRITEPROTECT_MODE_WP | UFFDIO_WRITEPROTECT_MODE_DONTWAKE));
	say("protect.load", "%ld", LOAD(&t, 1, at));
	BEGIN_STORE(&t, 1, at + 3, 8);
	m = uffd_event(fd);
	say_bool("protect.event-is-WP", m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	say_bool("protect.event-is-WRITE", m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WRITE);
	say_bool("protect.exact-address", m.arg.pagefault.address == at + 3);
	say("protect.mem-read", "%ld", mem_access(t.pid, at, &byte, false));
	say("protect.mem-read-value", "%d", byte);
	say_result("protect.disarm-DONTWAKE",
		   uffd_protect_mode(fd, at, PAGE, UFFDIO_WRITEPROTECT_MODE_DONTWAKE));
	say_bool("protect.DONTWAKE-waits", !finished(&t, 1));
	say_result("protect.wake", uffd_wake(fd, at));
	say_result("protect.store-goes-on", result_of(&t, 1));
	BEGIN_LOAD(&t, 1, at + 3 * PAGE);
	uffd_event(fd);
	say_result("protect.COPY-with-WP", uffd_copy(fd, at + 3 * PAGE, 4, UFFDIO_COPY_MODE_WP));
	say("protect.COPY-with-WP-value", "%ld", result_of(&t, 1));
	BEGIN_STORE(&t, 1, at + 3 * PAGE, 8);
	m = uffd_event(fd);
	say_bool("protect.COPY-with-WP-arms", m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	say_result("protect.disarm", uffd_protect(fd, at + 3 * PAGE, false));
	say_result("protect.disarm-wakes", result_of(&t, 1));
	say_bool("protect.pagemap-bit-57-off", !(pagemap_of(t.pid, at) >> 57 & 1));
	MUST(uffd_protect(fd, at, true) == 0);
	say_bool("protect.pagemap-bit-57-on", pagemap_of(t.pid, at) >> 57 & 1);
	CALL(&t, 0, SYS_close, number);
	close(fd);
	say_result("protect.close-releases", STORE(&t, 0, at, 1));
	target_end(&t);
}

static long mapped(struct target *t, unsigned long length, int flags, int fd)
{
	long at = CALL(t, 0, SYS_mmap, 0, length, PROT_READ | PROT_WRITE, flags, fd, 0);

	MUST(at > 0);
	return at;
}

static void kinds(uint64_t features)
{
	struct target t = target_start(1);
	int number, fd = uffd_take(&t, 0, &number), second_number;
	int second = uffd_take(&t, 0, &second_number);
	unsigned long at = target_map(&t, 6), length = 0, place;
	char name[256] = "";
	long none;

	none = CALL(&t, 0, SYS_mmap, 0, PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	say_result("kinds.no-access", uffd_register(fd, (unsigned long)none, PAGE, MISSING));
	place = mapping_of(t.pid, "[stack]", &length);
	say_result("kinds.stack", uffd_register(fd, place, PAGE, MISSING));
	MUST(uffd_unregister(fd, place, PAGE) == 0);
	say_result("kinds.shmem",
		   uffd_register(fd,
				 (unsigned long)mapped(&t, PAGE, MAP_SHARED | MAP_ANONYMOUS, -1),
				 PAGE, MISSING));
	MUST(readlink("/proc/self/exe", name, sizeof(name) - 1) > 0);
	place = mapping_of(t.pid, name, &length);
	MUST(place);
	say_result("kinds.private-file", uffd_register(fd, place, PAGE, MISSING));
	say_result("kinds.private-file-WP",
		   uffd_register(fd, place, PAGE, features & FEATURE_WP ? WP : MISSING));
	place = mapping_of(t.pid, "[vdso]", &length);
	MUST(place);
	say_result("kinds.vdso", uffd_register(fd, place, length, MISSING));
	place = mapping_of(t.pid, "[vvar]", &length);
	MUST(place);
	say_result("kinds.vvar", uffd_register(fd, place, length, MISSING));
	say_result("kinds.nothing-there", uffd_register(fd, 1ul << 20, PAGE, MISSING));

	MUST(CALL(&t, 0, SYS_munmap, at + 2 * PAGE, 2 * PAGE) == 0);
	say_result("kinds.across-a-hole", uffd_register(fd, at, 6 * PAGE, MISSING));
	say_bool("kinds.after-the-hole-um", vm_flag(t.pid, at + 5 * PAGE, " um"));
	say_result("kinds.again", uffd_register(fd, at, PAGE, MISSING));
	say_result("kinds.second-context", uffd_register(second, at, PAGE, MISSING));
	close(fd);
	close(second);
	target_end(&t);
}

static void poison(uint64_t features)
{
	struct target t = target_start(1);
	unsigned long at = target_map(&t, 1);
	int number, fd = uffd_take(&t, 0, &number);
	struct uffd_poison p = {.start = at, .len = PAGE};
	char byte;

	if (!(features & FEATURE_POISON)) {
		lacking("poison", "no UFFDIO_POISON");
	} else {
		MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
		say_result("poison.POISON", xioctl(fd, IOCTL_POISON, &p));
		say_result("poison.system-call", CALL(&t, 0, SYS_getrandom, at, 1, 0));
		say_result("poison.mem-read", mem_access(t.pid, at, &byte, false));
		MUST(uffd_unregister(fd, at, PAGE) == 0);
		MUST(CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED) == 0);
		say("poison.after-a-zap", "%ld", LOAD(&t, 0, at));
	}
	close(fd);
	target_end(&t);
}

/* What an unprivileged user may have: no system call waits, each fails at once. */
static void user_mode_only(void)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | 1 /* USER_MODE_ONLY */);
	char *at = own_map(1, 0);

	if (fd < 0) {
		lacking("user-mode-only", "no UFFD_USER_MODE_ONLY");
		return;
	}
	MUST(xioctl(fd, UFFDIO_API, &api) == 0);
	MUST(uffd_register(fd, (unsigned long)at, PAGE, MISSING) == 0);
	say_result("user-mode-only.system-call", RAW(SYS_getrandom, at, 1, 0));
	say_bool("user-mode-only.no-event", !uffd_has_event(fd));
	close(fd);
}

/*
 * Taking a page away where it cannot be moved: protect, copy, zap, un-protect. Who waits
 * for the write meanwhile finds the page missing, and writes into what was copied back.
 */
static void keep_by_copy(uint64_t features)
{
	struct target t = target_start(2);
	unsigned long at = target_map(&t, 1);
	int number, fd = uffd_take(&t, FEATURE_EXACT_ADDRESS, &number);
	struct uffd_msg m;
	char kept[2];

	if (!(features & FEATURE_WP)) {
		lacking("keep-by-copy", "no write-protection");
	} else {
		target_fill(&t, at, 1, 7);
		MUST(uffd_register(fd, at, PAGE, MISSING | WP) == 0);
		MUST(uffd_protect(fd, at, true) == 0);
		MUST(mem_access(t.pid, at, &kept[0], false) == 1);
		MUST(mem_access(t.pid, at + 1, &kept[1], false) == 1);
		BEGIN_STORE(&t, 1, at + 1, 9);
		m = uffd_event(fd);
		say_bool("keep-by-copy.writer-waits",
			 m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
		MUST(CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED) == 0);
		say_bool("keep-by-copy.zap-wakes-nobody", !uffd_has_event(fd));
		MUST(uffd_protect(fd, at, false) == 0);
		m = uffd_event(fd);
		say_bool("keep-by-copy.then-finds-it-missing",
			 !(m.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP) &&
				 m.arg.pagefault.address == at + 1);
		MUST(uffd_copy(fd, at, kept[0], 0) == 0);
		result_of(&t, 1);
		say("keep-by-copy.contents", "%ld %ld", LOAD(&t, 0, at), LOAD(&t, 0, at + 1));
	}
	close(fd);
	target_end(&t);
}

/* The last number of a field of the task's status. */
static int status_number(pid_t pid, pid_t tid, const char *field)
{
	char leaf[64], text[8192], *at, *end;

	snprintf(leaf, sizeof(leaf), "task/%d/status", tid);
	MUST(proc_read(pid, leaf, text, sizeof(text)) > 0);
	at = strstr(text, field);
	MUST(at);
	end = strchr(at, '\n');
	*end = 0;
	at = strrchr(at, '\t');
	return at ? atoi(at + 1) : 0;
}

/* Another pid namespace: the event names the thread as it names itself. */
static void namespaced(void)
{
	int number, fd;
	unsigned long at;
	struct target t;
	struct uffd_msg m;

	if (unshare(CLONE_NEWPID) < 0) {
		lacking("namespace", "no pid namespace without privilege");
		return;
	}
	t = target_start(1);
	at = target_map(&t, 1);
	fd = uffd_take(&t, FEATURE_THREAD_ID, &number);
	MUST(uffd_register(fd, at, PAGE, MISSING) == 0);
	BEGIN_LOAD(&t, 0, at);
	m = uffd_event(fd);
	say_bool("namespace.ptid-is-the-inner-one", m.arg.pagefault.feat.ptid == 1 && t.pid != 1);
	say("namespace.NSpid", "%d", status_number(t.pid, t.pid, "NSpid:"));
	close(fd);
	target_end(&t);
}

int main(void)
{
	uint64_t features = features_or_end();

	operations(features);
	protection(features);
	kinds(features);
	poison(features);
	keep_by_copy(features);
	user_mode_only();
	namespaced(); /* the last: later children would be in the namespace */
	return 0;
}
