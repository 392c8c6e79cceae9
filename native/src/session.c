/* Making and ending a session: the descriptors, the handshake, the first words. */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "pagezap/pagezap.h"

#define BUFFER_LENGTH (64 * PZ_PAGE)
#define STASH_PLACE   (1ull << 46) /* nobody maps anything there; the kernel may refuse it */
#define WANTED                                                                                     \
	(PZ_FEATURE_WP | PZ_FEATURE_EVENT_FORK | PZ_FEATURE_EVENT_REMAP |                          \
	 PZ_FEATURE_EVENT_REMOVE | PZ_FEATURE_EVENT_UNMAP | PZ_FEATURE_THREAD_ID |                 \
	 PZ_FEATURE_EXACT_ADDRESS | PZ_FEATURE_MISSING_SHMEM | PZ_FEATURE_MISSING_HUGE |           \
	 PZ_FEATURE_WP_HUGE_SHMEM | PZ_FEATURE_WP_UNPOPULATED | PZ_FEATURE_MOVE |                  \
	 PZ_FEATURE_POISON)

/* A leader that has called pthread_exit(3) has no descriptors: Linux 6.9 asks another thread. */
static int take_fd(struct pz_session *s, int number)
{
	pid_t living = pz_proc_living(s->options.pid);
	pz_autoclose int thread = -1;
	int fd;

	if (living > 0 && living != s->options.pid)
		thread = (int)syscall(SYS_pidfd_open, living, PZ_PIDFD_THREAD);
	fd = (int)syscall(SYS_pidfd_getfd, thread < 0 ? s->pidfd : thread, number, 0);
	return fd < 0 ? -errno : fd;
}

static void *map_shared(int fd, uint64_t length)
{
	void *at = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);

	return at == MAP_FAILED ? NULL : at;
}

static int open_inferior(struct pz_session *s, const char **ret_why)
{
	const struct pz_options *o = &s->options;

	*ret_why = "cannot open the inferior";
	s->pidfd = (int)syscall(SYS_pidfd_open, o->pid, 0);
	if (s->pidfd < 0)
		return -errno;
	*ret_why = "cannot take the userfaultfd";
	s->uffd = take_fd(s, o->uffd_number);
	if (s->uffd < 0)
		return s->uffd;
	*ret_why = "cannot take the command page";
	s->command_fd = take_fd(s, o->command_number);
	if (s->command_fd < 0)
		return s->command_fd;
	s->mailbox = map_shared(s->command_fd, PZ_PAGE);
	if (!s->mailbox)
		return -errno;
	*ret_why = "cannot read the inferior's memory";
	s->mem_fd = pz_proc_open(o->pid, "mem", O_RDONLY);
	if (s->mem_fd < 0)
		return s->mem_fd;
	s->pagemap_fd = pz_proc_open(o->pid, "pagemap", O_RDONLY);
	return s->pagemap_fd < 0 ? s->pagemap_fd : 0;
}

static int open_own(struct pz_session *s)
{
	int error;

	s->shared_fd = memfd_create("pagezap-ledger", MFD_CLOEXEC);
	s->store_fd = memfd_create("pagezap-store", MFD_CLOEXEC);
	s->kick_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	s->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->shared_fd < 0 || s->store_fd < 0 || s->kick_fd < 0 || s->wake_fd < 0)
		return -errno;
	if (ftruncate(s->shared_fd, (off_t)PZ_SHARED_LENGTH) < 0)
		return -errno;
	s->shared = map_shared(s->shared_fd, PZ_SHARED_LENGTH);
	s->page_buffer = malloc(BUFFER_LENGTH);
	s->main_buffer = malloc(PZ_PAGE);
	s->ahead.buffer = malloc(PZ_AHEAD_PAGES * PZ_PAGE);
	if (!s->shared || !s->page_buffer || !s->main_buffer || !s->ahead.buffer)
		return -ENOMEM;
	s->ledger = (uint64_t *)((char *)s->shared + PZ_LEDGER_OFFSET);
	error = pz_region_init(s);
	return error ? error : pz_trace_init(s);
}

static bool same_pid_namespace(pid_t pid)
{
	struct stat a, b;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/ns/pid", pid);
	return stat(path, &a) < 0 || stat("/proc/self/ns/pid", &b) < 0 || a.st_ino == b.st_ino;
}

static int open_signals(struct pz_session *s)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGHUP);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	s->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? -errno : 0;
}

static void dont_fork(struct pz_session *s)
{
	const struct pz_options *o = &s->options;

	pz_agent_syscall(s, SYS_madvise, o->mailbox, PZ_PAGE, MADV_DONTFORK);
	pz_agent_syscall(s, SYS_madvise, o->code, o->code_length, MADV_DONTFORK);
}

int pz_session_init(struct pz_session *s, const struct pz_options *options, const char **ret_why)
{
	int error;

	*s = (struct pz_session){.options = *options, .pidfd = -1, .uffd = -1, .command_fd = -1};
	s->mem_fd = s->pagemap_fd = s->shared_fd = s->store_fd = s->listen_fd = -1;
	s->kick_fd = s->wake_fd = s->signal_fd = s->agent_pidfd = -1;
	s->start_us = pz_now_us();
	s->stash_hint = STASH_PLACE;
	for (int i = 0; i < PZ_MAX_CLIENTS; i++)
		s->client[i].fd = -1;
	pthread_mutex_init(&s->lock, NULL);
	pz_cache_init(&s->syscall_files, "syscall");
	pz_cache_init(&s->stat_files, "stat");
	pz_cache_init(&s->run_files, "schedstat");
	pz_cache_init(&s->sched_files, "schedstat");
	pz_place_prepare(s);
	s->same_pid_namespace = same_pid_namespace(options->pid);
	error = open_inferior(s, ret_why);
	if (error)
		return error;
	*ret_why = "cannot make the ledger";
	error = open_own(s);
	if (error)
		return error;
	*ret_why = "cannot set up the userfaultfd";
	error = pz_uffd_handshake(s->uffd, WANTED, &s->features);
	if (error)
		return error;
	fcntl(s->uffd, F_SETFL, fcntl(s->uffd, F_GETFL) | O_NONBLOCK);
	s->move = (s->features & PZ_FEATURE_MOVE) && !options->no_move;
	s->wp = s->features & PZ_FEATURE_WP;
	*ret_why = "the agent does not answer";
	error = pz_agent_attach(s);
	if (error)
		return error;
	*ret_why = "cannot guard the inferior against a stray SIGTRAP";
	error = pz_agent_guard_install(s);
	if (error)
		return error;
	dont_fork(s);
	s->was_stopped = pz_proc_stopped(options->pid);
	*ret_why = "cannot start the keeper";
	error = open_signals(s);
	if (!error)
		error = pz_keeper_start(s);
	if (error)
		return error;
	*ret_why = "cannot start the fault thread";
	error = pz_fault_start(s);
	if (error)
		return error;
	*ret_why = "cannot listen";
	return pz_control_init(s);
}

void pz_session_deinit(struct pz_session *s)
{
	int *fds[] = {&s->pidfd,      &s->uffd,	     &s->command_fd, &s->mem_fd,
		      &s->pagemap_fd, &s->shared_fd, &s->store_fd,   &s->listen_fd,
		      &s->kick_fd,    &s->wake_fd,   &s->signal_fd,  &s->agent_pidfd};

	/* Else it is what the keeper is there for: it brings back what is away when we have gone.
	 */
	if (s->keeper > 0 && s->shared->finished) {
		kill(s->keeper, SIGKILL);
		waitpid(s->keeper, NULL, 0);
	}
	pz_fault_stop(s);
	for (size_t i = 0; i < sizeof(fds) / sizeof(fds[0]); i++)
		pz_close_cleanup(fds[i]);
	pz_cache_deinit(&s->syscall_files);
	pz_cache_deinit(&s->stat_files);
	pz_cache_deinit(&s->run_files);
	pz_cache_deinit(&s->sched_files);
	pz_trace_deinit(s);
	pz_region_deinit(s);
	if (s->mailbox)
		munmap((void *)(uintptr_t)s->mailbox, PZ_PAGE);
	if (s->shared)
		munmap(s->shared, PZ_SHARED_LENGTH);
	free(s->page_buffer);
	free(s->main_buffer);
	free(s->ahead.buffer);
	free(s->free_slots.slot);
}
