/* What /proc says of the inferior's tasks. */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "pagezap/pagezap.h"

#define KCMP_FILE 0
#define KCMP_VM	  1

static ssize_t read_text(pid_t pid, pid_t tid, const char *leaf, char *buffer, size_t size)
{
	char path[64];
	pz_autoclose int fd = -1;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, leaf);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buffer, size - 1);
	if (n < 0)
		return -errno;
	buffer[n] = 0;
	return n;
}

/* Neither a zombie nor about to be one: the memory is given up first. */
static bool has_mm(pid_t pid, pid_t tid)
{
	char text[128];

	return read_text(pid, tid, "statm", text, sizeof(text)) > 0 && text[0] != '0';
}

/*
 * The task by which a process's memory and descriptors can be named, -ESRCH where there is none
 * left: the leader, as a rule, but where it has called pthread_exit(3) it has neither any more.
 */
pid_t pz_proc_living(pid_t pid)
{
	char path[64];
	struct dirent *entry;
	pid_t found = -ESRCH;
	DIR *tasks;

	if (has_mm(pid, pid))
		return pid;
	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	tasks = opendir(path);
	while (tasks && found < 0 && (entry = readdir(tasks))) {
		pid_t tid = (pid_t)atoi(entry->d_name);

		if (tid > 0 && has_mm(pid, tid))
			found = tid;
	}
	if (tasks)
		closedir(tasks);
	return found;
}

/* A file of what the process's tasks share. */
int pz_proc_open(pid_t pid, const char *leaf, int flags)
{
	char path[64];
	pid_t tid;
	int fd;

	do {
		tid = pz_proc_living(pid);
		if (tid < 0)
			return tid;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, leaf);
		fd = open(path, flags | O_CLOEXEC);
		if (fd < 0)
			fd = -errno;
	} while (fd < 0 && !has_mm(pid, tid));
	return fd;
}

/* Behind the name of a field, which a line begins with: a task's own name may hold any text. */
static const char *status_value(const char *text, const char *field)
{
	size_t length = strlen(field);

	while (strncmp(text, field, length) != 0) {
		text = strchr(text, '\n');
		if (!text)
			return NULL;
		text++;
	}
	return text + length;
}

int pz_proc_status_field(pid_t pid, pid_t tid, const char *field, uint64_t *ret)
{
	char text[4096];
	ssize_t n = read_text(pid, tid, "status", text, sizeof(text));
	const char *at;

	if (n < 0)
		return (int)n;
	at = status_value(text, field);
	if (!at)
		return -ENOENT;
	/* The last number of the line: for NSpid the innermost namespace's. */
	for (;;) {
		char *end;
		uint64_t value = strtoull(at, &end, 10);

		if (end == at)
			return 0;
		*ret = value;
		at = end;
		if (*at == '\n' || !*at)
			return 0;
	}
}

/* A signal that the task does not block waits for it. */
bool pz_proc_signal_pending(pid_t pid, pid_t tid)
{
	char text[4096];
	uint64_t value[3] = {0};
	const char *names[] = {"SigPnd:", "ShdPnd:", "SigBlk:"};

	if (read_text(pid, tid, "status", text, sizeof(text)) < 0)
		return false;
	for (int i = 0; i < 3; i++) {
		const char *at = status_value(text, names[i]);

		if (at)
			value[i] = strtoull(at, NULL, 16);
	}
	return (value[0] | value[1]) & ~value[2];
}

/* A field of a task's stat, by its number in proc(5), 3 or more; NULL where there is none. */
const char *pz_proc_stat_field(const char *text, int number)
{
	const char *at = strrchr(text, ')'); /* of the name, which may hold anything */

	for (int field = 2; at && field < number; field++) {
		at = strchr(at + 1, ' ');
	}
	return at ? at + 1 : NULL;
}

/* The function of the kernel that a task sleeps in; see wchan in proc(5). */
ssize_t pz_proc_wchan(pid_t tid, char *buffer, size_t size)
{
	return read_text(tid, tid, "wchan", buffer, size);
}

char pz_proc_state(pid_t pid, pid_t tid)
{
	char text[1024];
	const char *at;

	if (read_text(pid, tid, "stat", text, sizeof(text)) < 0)
		return 0;
	at = pz_proc_stat_field(text, 3);
	return at ? *at : 0;
}

/* By a stop signal, and not by a tracer. */
bool pz_proc_stopped(pid_t pid)
{
	return pz_proc_state(pid, pz_proc_living(pid)) == 'T';
}

static struct pz_sched sched_of(const char *text)
{
	struct pz_sched sched = {0};

	if (sscanf(text, "%lu %lu %lu", &sched.ran_ns, &sched.waited_ns, &sched.runs) != 3)
		return (struct pz_sched){0};
	return sched;
}

/* Of a thread that runs on a CPU, up to the clock's last tick; all 0 where nothing is counted. */
struct pz_sched pz_proc_sched(pid_t pid, pid_t tid)
{
	char text[96];

	if (read_text(pid, tid, "schedstat", text, sizeof(text)) < 0)
		return (struct pz_sched){0};
	return sched_of(text);
}

struct pz_sched pz_cache_sched(struct pz_fd_cache *c, pid_t pid, pid_t tid)
{
	char text[96];

	if (pz_cache_read(c, pid, tid, text, sizeof(text)) <= 0)
		return (struct pz_sched){0};
	return sched_of(text);
}

uint64_t pz_proc_start_time(pid_t pid)
{
	char text[1024];
	const char *at;

	if (read_text(pid, pid, "stat", text, sizeof(text)) < 0)
		return 0;
	at = pz_proc_stat_field(text, 22);
	return at ? strtoull(at, NULL, 10) : 0;
}

/* The calling thread's effective capabilities, by the bits of capability.h. */
uint64_t pz_proc_capabilities(void)
{
	char line[256];
	uint64_t value = 0;
	FILE *f = fopen("/proc/thread-self/status", "re");

	while (f && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "CapEff: %lx", &value) == 1)
			break;
	}
	if (f)
		fclose(f);
	return value;
}

uint64_t pz_proc_rss_kib(void)
{
	unsigned long size, resident;
	FILE *f = fopen("/proc/self/statm", "re");
	int n;

	if (!f)
		return 0;
	n = fscanf(f, "%lu %lu", &size, &resident);
	fclose(f);
	return n == 2 ? resident * (PZ_PAGE / 1024) : 0;
}

void pz_cache_init(struct pz_fd_cache *c, const char *leaf)
{
	*c = (struct pz_fd_cache){.leaf = leaf};
	for (int i = 0; i < PZ_FD_SLOTS; i++)
		c->slot[i].fd = -1;
}

void pz_cache_deinit(struct pz_fd_cache *c)
{
	for (int i = 0; i < PZ_FD_SLOTS; i++) {
		pz_close_cleanup(&c->slot[i].fd);
		c->slot[i].fd = -1;
	}
}

static int slot_open(struct pz_fd_slot *slot, const char *leaf, pid_t pid, pid_t tid)
{
	char path[64];

	pz_close_cleanup(&slot->fd);
	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, tid, leaf);
	slot->fd = open(path, O_RDONLY | O_CLOEXEC);
	slot->tid = tid;
	return slot->fd < 0 ? -errno : 0;
}

/* Reads a task's file through a descriptor that stays open; a recycled tid is reopened. */
ssize_t pz_cache_read(struct pz_fd_cache *c, pid_t pid, pid_t tid, char *buffer, size_t size)
{
	struct pz_fd_slot *slot = &c->slot[0];
	ssize_t n;

	for (int i = 0; i < PZ_FD_SLOTS; i++) {
		if (c->slot[i].fd >= 0 && c->slot[i].tid == tid) {
			slot = &c->slot[i];
			break;
		}
		if (c->slot[i].used < slot->used)
			slot = &c->slot[i];
	}
	slot->used = ++c->clock;
	for (int attempt = 0; attempt < 2; attempt++) {
		if (slot->fd < 0 || slot->tid != tid || attempt) {
			int error = slot_open(slot, c->leaf, pid, tid);

			if (error)
				return error;
		}
		n = pread(slot->fd, buffer, size - 1, 0);
		if (n > 0) {
			buffer[n] = 0;
			return n;
		}
	}
	return n < 0 ? -errno : -ESRCH;
}

bool pz_proc_has_task(pid_t pid, pid_t tid)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d", pid, tid);
	return access(path, F_OK) == 0;
}

/* A regular file, a pipe or a socket. */
bool pz_proc_plain_file(pid_t pid, const char *leaf)
{
	struct stat st;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/task/%d/%s", pid, pz_proc_living(pid), leaf);
	if (stat(path, &st) < 0)
		return false;
	return S_ISREG(st.st_mode) || S_ISFIFO(st.st_mode) || S_ISSOCK(st.st_mode);
}

/* The events name the task as its own pid namespace does. */
pid_t pz_proc_local_tid(struct pz_session *s, pid_t tid)
{
	char path[64];
	struct dirent *entry;
	pid_t found = tid;
	DIR *tasks;

	if (s->same_pid_namespace)
		return tid;
	snprintf(path, sizeof(path), "/proc/%d/task", s->options.pid);
	tasks = opendir(path);
	if (!tasks)
		return tid;
	while ((entry = readdir(tasks))) {
		pid_t local = (pid_t)atoi(entry->d_name);
		uint64_t inner = 0;

		if (local > 0 &&
		    pz_proc_status_field(s->options.pid, local, "NSpid:", &inner) == 0 &&
		    (pid_t)inner == tid) {
			found = local;
			break;
		}
	}
	closedir(tasks);
	return found;
}

/* 0 where a task has the process's memory, above 0 where it has another, -errno for no answer. */
static int compare_mm(pid_t task, pid_t process)
{
	pid_t living;
	long r;

	do {
		living = pz_proc_living(process);
		if (living < 0)
			return living;
		r = syscall(SYS_kcmp, task, living, KCMP_VM, 0, 0);
		if (r < 0)
			r = -errno;
	} while (r && !has_mm(process, living));
	return r > 0 && !has_mm(task, task) ? -ESRCH : (int)r;
}

/* The agent by our numbers; it wrote down what its own pid namespace calls it. */
pid_t pz_proc_local_agent(struct pz_session *s, pid_t agent)
{
	struct dirent *entry;
	pid_t found = -1;
	DIR *processes;

	if (s->same_pid_namespace)
		return agent;
	processes = opendir("/proc");
	if (!processes)
		return -1;
	while (found < 0 && (entry = readdir(processes))) {
		pid_t local = (pid_t)atoi(entry->d_name);
		uint64_t inner = 0;

		if (local > 0 && pz_proc_status_field(local, local, "NSpid:", &inner) == 0 &&
		    (pid_t)inner == agent && compare_mm(local, s->options.pid) == 0)
			found = local;
	}
	closedir(processes);
	return found;
}

/* Without an answer: believe. The pidfds tell who has gone. */
bool pz_proc_same_mm(pid_t task, pid_t process)
{
	return compare_mm(task, process) <= 0;
}

bool pz_proc_same_file(pid_t a, int fd_a, pid_t b, int fd_b)
{
	long r = syscall(SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b);

	return r == 0 || (r < 0 && (errno == ENOSYS || errno == EPERM));
}
