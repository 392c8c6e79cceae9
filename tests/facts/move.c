/* UFFDIO_MOVE: who may, what it keeps, what it refuses. */
#include "facts.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP

static struct target t;
static int fd, number;
static unsigned long at, stash, scratch;
static pid_t agent;

/* By the agent, into or out of the stash. */
static long move(unsigned long dst, unsigned long src, unsigned long pages, uint64_t mode,
		 long *ret)
{
	return target_move(&t, 2, number, scratch, dst, src, pages * PAGE, mode, ret);
}

/* A session as pagezap makes it: registered pages, a stash, an agent. */
static void begin(uint64_t modes, unsigned long agent_flags)
{
	t = target_start(2);
	scratch = target_map(&t, 1);
	at = target_map(&t, 8);
	stash = target_map(&t, 8);
	STORE(&t, 0, scratch, 0);
	target_fill(&t, at, 8, 7);
	fd = uffd_take(&t, FEATURE_THREAD_ID | FEATURE_EXACT_ADDRESS, &number);
	agent = agent_start(&t, 2, agent_flags);
	MUST(uffd_register(fd, at, 8 * PAGE, modes) == 0);
	MUST(uffd_register(fd, stash, 8 * PAGE, MISSING) == 0);
}

static void end(void)
{
	agent_end(&t, agent);
	close(fd);
	target_end(&t);
}

static void who(void)
{
	struct uffd_move m;
	struct uffd_msg event;
	uint64_t before, after;
	long moved;

	begin(MISSING, 0);
	m = (struct uffd_move){.dst = stash, .src = at, .len = PAGE};
	say_result("who.other-mm", xioctl(fd, IOCTL_MOVE, &m));
	before = pagemap_of(t.pid, at);
	say_result("who.agent", move(stash, at, 2, 0, &moved));
	say("who.agent-moved", "%ld", moved);
	say_bool("who.source-empty", pagemap_of(t.pid, at) == 0);
	say("who.content", "%ld", LOAD(&t, 0, stash));
	after = pagemap_of(t.pid, stash);
	if (PFN(before))
		say_bool("frame.same", PFN(before) == PFN(after));
	else
		lacking("frame", "frame numbers need privilege");

	BEGIN_STORE(&t, 1, at + 8, 1);
	event = uffd_event(fd);
	say_bool("back.event", event.arg.pagefault.address == at + 8);
	say_result("back.move", move(at, stash, 1, 0, &moved));
	say_result("back.store-goes-on", result_of(&t, 1));
	say("back.content", "%ld", LOAD(&t, 0, at));
	end();

	/* A thread of the program itself may as well. */
	begin(MISSING, 0);
	say_result("who.thread", target_move(&t, 1, number, scratch, stash, at, PAGE, 0, &moved));
	end();
}

static void refusals(void)
{
	long moved;

	begin(MISSING, 0);
	MUST(uffd_copy(fd, stash + PAGE, 3, 0) == 0);
	say_result("populated.first", move(stash + PAGE, at + PAGE, 1, 0, &moved));
	say("populated.source-stays", "%ld", LOAD(&t, 0, at + PAGE));
	say_result("populated.in-the-middle", move(stash, at, 3, 0, &moved));
	say("populated.bytes-before-it", "%ld", moved);

	MUST(uffd_unregister(fd, stash + 4 * PAGE, 4 * PAGE) == 0);
	say_result("registered.destination-is-not",
		   move(stash + 4 * PAGE, at + 4 * PAGE, 1, 0, &moved));
	MUST(uffd_register(fd, stash + 4 * PAGE, PAGE, MISSING) == 0);
	MUST(move(stash + 4 * PAGE, at + 4 * PAGE, 1, 0, &moved) == 0);
	MUST(uffd_unregister(fd, stash + 4 * PAGE, PAGE) == 0);
	say_bool("registered.stash-survives-UNREGISTER", present(t.pid, stash + 4 * PAGE));
	say_result("registered.source-is-not", move(at + 4 * PAGE, stash + 4 * PAGE, 1, 0, &moved));
	end();

	begin(MISSING, 0);
	MUST(CALL(&t, 0, SYS_madvise, at + PAGE, PAGE, MADV_DONTNEED) == 0);
	say_result("holes.refused", move(stash, at, 3, 0, &moved));
	say("holes.bytes-before", "%ld", moved);
	MUST(move(at, stash, 1, 0, &moved) == 0);
	say_result("holes.allowed", move(stash, at, 3, MOVE_ALLOW_SRC_HOLES, &moved));
	say("holes.allowed-bytes", "%ld", moved);
	say_bool("holes.hole-stays", !present(t.pid, stash + PAGE));
	end();

	begin(MISSING, 0);
	MUST(CALL(&t, 0, SYS_mprotect, at + PAGE, PAGE, PROT_READ) == 0);
	say_result("protection.differs", move(stash + PAGE, at + PAGE, 1, 0, &moved));
	MUST(CALL(&t, 0, SYS_mprotect, stash + PAGE, PAGE, PROT_READ) == 0);
	say_result("protection.both-read-only", move(stash + PAGE, at + PAGE, 1, 0, &moved));
	end();
}

static void locked(void)
{
	long moved;

	begin(MISSING, 0);
	if (CALL(&t, 0, SYS_mlock, at, PAGE)) {
		lacking("locked", "mlock(2) is not permitted here");
	} else {
		say_result("locked.source", move(stash, at, 1, 0, &moved));
		say("locked.source-content", "%ld", LOAD(&t, 0, at));
		MUST(CALL(&t, 0, SYS_munlock, at, PAGE) == 0);
		say_result("locked.unlocked-again", move(stash, at, 1, 0, &moved));
		MUST(CALL(&t, 0, SYS_mlock2, stash + PAGE, PAGE, 1 /* MLOCK_ONFAULT */) == 0);
		say_result("locked.destination", move(stash + PAGE, at + PAGE, 1, 0, &moved));
		MUST(CALL(&t, 0, SYS_mlock2, at + PAGE, PAGE, 1 /* MLOCK_ONFAULT */) == 0);
		say_result("locked.both", move(stash + PAGE, at + PAGE, 1, 0, &moved));
	}
	end();
}

static long order_fork(unsigned long *a)
{
	long child = RAW(SYS_fork);

	(void)a;
	if (child == 0)
		for (;;)
			RAW(SYS_pause);
	return child;
}

/* A child shares the pages, until a write parts them. */
static void forked(void)
{
	long moved, child;

	begin(MISSING, 0);
	post(&t, 0, order_fork, ARGUMENTS(0));
	child = result_of(&t, 0);
	MUST(child > 0);
	say_result("fork-shared.move", move(stash, at, 1, 0, &moved));
	say("fork-shared.content-stays", "%ld", LOAD(&t, 0, at));
	say_result("fork-shared.after-a-write",
		   (STORE(&t, 0, at + PAGE, 2), move(stash + PAGE, at + PAGE, 1, 0, &moved)));
	kill((pid_t)child, SIGKILL);
	CALL(&t, 0, SYS_wait4, child, 0, 0, 0);
	say_result("fork-shared.after-the-child",
		   (STORE(&t, 0, at + 2 * PAGE, 2),
		    move(stash + 2 * PAGE, at + 2 * PAGE, 1, 0, &moved)));
	end();

	/* The stash itself, with MADV_DONTFORK and without. */
	begin(MISSING, 0);
	MUST(CALL(&t, 0, SYS_madvise, stash, 4 * PAGE, MADV_DONTFORK) == 0);
	MUST(move(stash, at, 1, 0, &moved) == 0);
	MUST(move(stash + 4 * PAGE, at + 4 * PAGE, 1, 0, &moved) == 0);
	post(&t, 0, order_fork, ARGUMENTS(0));
	child = result_of(&t, 0);
	MUST(child > 0);
	say_result("stash-forked.with-DONTFORK", move(at, stash, 1, 0, &moved));
	say_result("stash-forked.without", move(at + 4 * PAGE, stash + 4 * PAGE, 1, 0, &moved));
	kill((pid_t)child, SIGKILL);
	CALL(&t, 0, SYS_wait4, child, 0, 0, 0);
	end();
}

static void zero_page(void)
{
	unsigned long empty;
	long moved;

	begin(MISSING, 0);
	empty = target_map(&t, 2);
	LOAD(&t, 0, empty);
	MUST(uffd_register(fd, empty, 2 * PAGE, MISSING) == 0);
	say_bool("zero-page.present", present(t.pid, empty));
	say_result("zero-page.move", move(stash + PAGE, empty, 1, 0, &moved));
	end();
}

static void protected(uint64_t features)
{
	struct uffd_msg event;
	long moved;

	if (!(features & FEATURE_WP)) {
		lacking("protected", "no write-protection");
		return;
	}
	begin(MISSING | WP, 0);
	if (uffd_register(fd, stash, 8 * PAGE, MISSING | WP))
		MUST(0);
	MUST(uffd_protect(fd, at, true) == 0);
	say_result("protected.move", move(stash, at, 1, 0, &moved));
	say_bool("protected.bit-57-after", pagemap_of(t.pid, stash) >> 57 & 1);
	say_result("protected.back", move(at, stash, 1, 0, &moved));
	say_result("protected.store-after-back", STORE(&t, 1, at, 3));
	/* Waiters for a write see the page go, and ask again. */
	MUST(uffd_protect(fd, at + PAGE, true) == 0);
	BEGIN_STORE(&t, 1, at + PAGE, 4);
	event = uffd_event(fd);
	MUST(event.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP);
	MUST(move(stash + PAGE, at + PAGE, 1, 0, &moved) == 0);
	MUST(uffd_wake(fd, at + PAGE) == 0);
	event = uffd_event(fd);
	say_bool("protected.waiter-finds-it-missing",
		 !(event.arg.pagefault.flags & UFFD_PAGEFAULT_FLAG_WP));
	MUST(move(at + PAGE, stash + PAGE, 1, 0, &moved) == 0);
	say_result("protected.waiter-goes-on", result_of(&t, 1));
	end();
}

/* Neither a move nor a zap of the unregistered stash tells anybody. */
static void silent(void)
{
	uint64_t wanted = FEATURE_EVENT_REMOVE | FEATURE_EVENT_UNMAP | FEATURE_EVENT_REMAP;
	struct uffd_msg event;
	long moved;

	t = target_start(2);
	scratch = target_map(&t, 1);
	at = target_map(&t, 8);
	stash = target_map(&t, 8);
	STORE(&t, 0, scratch, 0);
	target_fill(&t, at, 8, 7);
	fd = uffd_take(&t, wanted, &number);
	agent = agent_start(&t, 2, 0);
	MUST(uffd_register(fd, at, 8 * PAGE, MISSING) == 0);
	MUST(uffd_register(fd, stash, 8 * PAGE, MISSING) == 0);
	MUST(move(stash, at, 4, 0, &moved) == 0);
	say_bool("silent.move", !uffd_has_event(fd));
	MUST(uffd_unregister(fd, stash, 8 * PAGE) == 0);
	MUST(CALL(&t, 2, SYS_madvise, stash, PAGE, MADV_DONTNEED) == 0);
	MUST(CALL(&t, 2, SYS_munmap, stash + PAGE, PAGE) == 0);
	say_bool("silent.unregistered-stash", !uffd_has_event(fd));
	/* Where an event waits to be read, a move is put off. */
	BEGIN(&t, 1, SYS_madvise, at + 4 * PAGE, PAGE, MADV_DONTNEED);
	WAIT_FOR(uffd_has_event(fd));
	say_result("busy.move", move(at + 2 * PAGE, stash + 2 * PAGE, 1, 0, &moved));
	say_result("busy.WRITEPROTECT", uffd_protect(fd, at + 2 * PAGE, false));
	event = uffd_event(fd);
	MUST(event.event == UFFD_EVENT_REMOVE && result_of(&t, 1) == 0);
	say_result("busy.move-afterwards", move(at + 2 * PAGE, stash + 2 * PAGE, 1, 0, &moved));
	end();
}

static long order_count(unsigned long *a)
{
	volatile unsigned long *word = (volatile unsigned long *)a[0];

	for (unsigned long i = 0; i < a[1]; i++)
		++*word;
	return 0;
}

/* Two threads count in a page that comes and goes: not one count is lost. */
static void counted(void)
{
	const unsigned long times = 300000;
	unsigned long cycles = 0, words[2];
	struct iovec here = {words, sizeof(words)}, there;
	struct uffd_msg event;
	long moved;

	begin(MISSING, 0);
	memset(words, 0, sizeof(words));
	there = (struct iovec){(void *)at, sizeof(words)};
	MUST(process_vm_writev(t.pid, &here, 1, &there, 1, 0) > 0);
	post(&t, 0, order_count, ARGUMENTS(at, times));
	post(&t, 1, order_count, ARGUMENTS(at + 8, times));
	do {
		long error;

		do /* the writers may be in its way */
			error = move(stash, at, 1, 0, &moved);
		while (error == -EAGAIN || error == -EBUSY);
		MUST(error == 0);
		while (uffd_has_event(fd))
			MUST(read(fd, &event, sizeof(event)) > 0);
		MUST(move(at, stash, 1, 0, &moved) == 0);
		cycles++;
	} while (!finished(&t, 0) || !finished(&t, 1));
	MUST(process_vm_readv(t.pid, &here, 1, &there, 1, 0) > 0);
	say_bool("counted.some-cycles", cycles > 0);
	say_bool("counted.nothing-lost", words[0] == times && words[1] == times);
	end();
}

int main(void)
{
	uint64_t features = features_or_end();

	if (!(features & FEATURE_MOVE)) {
		lacking("*", "no UFFDIO_MOVE");
		return 0;
	}
	who();
	refusals();
	locked();
	forked();
	zero_page();
	protected(features);
	silent();
	counted();
	return 0;
}
