/* What this kernel and these privileges allow, each probed and never deduced from a version. */
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>

#include "pagezap/pagezap.h"

struct text {
	char *at;
	size_t left;
};

__attribute__((format(printf, 2, 3))) static void add(struct text *t, const char *format, ...)
{
	va_list list;
	int n;

	va_start(list, format);
	n = vsnprintf(t->at, t->left, format, list);
	va_end(list);
	if (n > 0 && (size_t)n < t->left) {
		t->at += n;
		t->left -= (size_t)n;
	}
}

static void add_bool(struct text *t, const char *key, bool value)
{
	add(t, "\"%s\": %s, ", key, value ? "true" : "false");
}

static uint64_t add_uffd(struct text *t)
{
	struct uffdio_api api = {.api = UFFD_API};
	const char *how, *user_how;
	pz_autoclose int fd = pz_uffd_new(0, &how);
	pz_autoclose int user = pz_uffd_new(UFFD_USER_MODE_ONLY, &user_how);
	int usable = fd >= 0 ? fd : user;
	bool fork_event = false;

	add_bool(t, "userfaultfd", usable >= 0);
	add(t, "\"userfaultfd_how\": \"%s\", \"userfaultfd_errno\": %d, ", fd >= 0 ? how : user_how,
	    fd >= 0 ? 0 : -fd);
	add_bool(t, "user_mode_only", fd < 0 && user >= 0);
	if (usable < 0 || ioctl(usable, UFFDIO_API, &api) < 0)
		return 0;
	{
		/* Offered to everybody, allowed only with CAP_SYS_PTRACE: asked for. */
		const char *ignored;
		pz_autoclose int other = pz_uffd_new(fd >= 0 ? 0 : UFFD_USER_MODE_ONLY, &ignored);
		struct uffdio_api ask = {.api = UFFD_API,
					 .features = PZ_FEATURE_EVENT_FORK & api.features};

		fork_event = other >= 0 && ask.features && ioctl(other, UFFDIO_API, &ask) == 0;
	}
	return fork_event ? api.features : api.features & ~PZ_FEATURE_EVENT_FORK;
}

static void add_features(struct text *t, uint64_t features)
{
	static const struct {
		const char *name;
		uint64_t bit;
	} names[] = {
		{"thread_id", PZ_FEATURE_THREAD_ID},
		{"exact_address", PZ_FEATURE_EXACT_ADDRESS},
		{"wp", PZ_FEATURE_WP},
		{"wp_unpopulated", PZ_FEATURE_WP_UNPOPULATED},
		{"wp_async", PZ_FEATURE_WP_ASYNC},
		{"wp_shmem", PZ_FEATURE_WP_HUGE_SHMEM},
		{"move", PZ_FEATURE_MOVE},
		{"poison", PZ_FEATURE_POISON},
		{"events_fork", PZ_FEATURE_EVENT_FORK},
		{"events_remap", PZ_FEATURE_EVENT_REMAP},
		{"events_remove", PZ_FEATURE_EVENT_REMOVE},
		{"events_unmap", PZ_FEATURE_EVENT_UNMAP},
		{"missing_shmem", PZ_FEATURE_MISSING_SHMEM},
		{"minor_shmem", PZ_FEATURE_MINOR_SHMEM},
		{"rwp", PZ_FEATURE_RWP},
	};

	add(t, "\"features\": {");
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		add(t, "%s\"%s\": %s", i ? ", " : "", names[i].name,
		    features & names[i].bit ? "true" : "false");
	add(t, "}, ");
}

static bool pagemap_scan(void)
{
	struct pz_page_region region;
	struct pz_pm_scan_arg arg = {.size = sizeof(arg),
				     .vec = (uint64_t)(uintptr_t)&region,
				     .vec_len = 1,
				     .category_anyof_mask = 1ull << 3,
				     .return_mask = 1ull << 3};
	pz_autoclose int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);

	arg.start = (uint64_t)(uintptr_t)&region & PZ_PAGE_MASK;
	arg.end = arg.start + PZ_PAGE;
	return fd >= 0 && ioctl(fd, PZ_PAGEMAP_SCAN, &arg) >= 0;
}

static const struct {
	const char *name;
	int advice;
} advices[] = {
	{"dontneed", 4},	{"free", 8},
	{"cold", 20},		{"pageout", 21},
	{"willneed", 3},	{"collapse", 25},
	{"populate_read", 22},	{"populate_write", 23},
	{"guard_install", 102}, {"guard_remove", 103},
	{"hugepage", 14},	{"nohugepage", 15},
};

/* Advice on a child's page; -errno or 0. COLLAPSE of one page has its own answer: EINVAL
 * means unknown for an address that is not of a huge page too, so it gets 2 MiB. */
static int advise_child(int pidfd, char *memory, int advice)
{
	struct iovec iov = {memory, advice == 25 ? 2ul << 20 : PZ_PAGE};

	return syscall(SYS_process_madvise, pidfd, &iov, 1, advice, 0) < 0 ? -errno : 0;
}

static void add_child_probes(struct text *t)
{
	const uint64_t huge = 2ull << 20;
	char *area =
		mmap(NULL, 2 * huge, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char *memory = (char *)(((uintptr_t)area + huge - 1) & ~(huge - 1));
	pid_t pid;
	bool first = true, getfd;
	int taken, marker;

	if (area == MAP_FAILED)
		return;
	memset(memory, 1, huge);
	marker = open("/dev/null", O_RDONLY | O_CLOEXEC);
	pid = fork();
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			pause();
	}
	if (pid > 0) {
		pz_autoclose int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);

		taken = (int)syscall(SYS_pidfd_getfd, pidfd, marker, 0);
		getfd = taken >= 0;
		pz_close_cleanup(&taken);
		add_bool(t, "pidfd_getfd", getfd);
		add(t, "\"remote_advice\": [");
		for (size_t i = 0; i < sizeof(advices) / sizeof(advices[0]); i++) {
			int error = advise_child(pidfd, memory, advices[i].advice);

			/* A refusal that is not of the advice: it was understood. */
			if (error == -EINVAL || error == -EPERM || error == -ENOSYS ||
			    error == -EBADF)
				continue;
			add(t, "%s\"%s\"", first ? "" : ", ", advices[i].name);
			first = false;
		}
		add(t, "], ");
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	pz_close_cleanup(&marker);
	munmap(area, 2 * huge);
}

static bool process_madvise_self(void)
{
	char *page =
		mmap(NULL, PZ_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	pz_autoclose int pidfd = (int)syscall(SYS_pidfd_open, getpid(), 0);
	struct iovec iov = {page, PZ_PAGE};
	bool works;

	if (page == MAP_FAILED)
		return false;
	works = syscall(SYS_process_madvise, pidfd, &iov, 1, MADV_DONTNEED, 0) >= 0;
	munmap(page, PZ_PAGE);
	return works;
}

static bool readable(const char *path)
{
	pz_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char buffer[64];

	return fd >= 0 && pread(fd, buffer, sizeof(buffer), 0) > 0;
}

static bool map_files(void)
{
	pz_autoclose int zero = memfd_create("pagezap-probe", MFD_CLOEXEC);
	char path[96];
	char *at;
	bool works;

	if (zero < 0 || ftruncate(zero, (off_t)PZ_PAGE) < 0)
		return false;
	at = mmap(NULL, PZ_PAGE, PROT_READ, MAP_SHARED, zero, 0);
	if (at == MAP_FAILED)
		return false;
	snprintf(path, sizeof(path), "/proc/self/map_files/%lx-%lx", (unsigned long)at,
		 (unsigned long)(at + PZ_PAGE));
	{
		pz_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);

		works = fd >= 0;
	}
	munmap(at, PZ_PAGE);
	return works;
}

/* The word in brackets of a sysfs file, or the first one; as a JSON string or null. */
static void add_word(struct text *t, const char *key, const char *path)
{
	char line[128] = "", *start, *end;
	FILE *f = fopen(path, "re");

	if (f && !fgets(line, sizeof(line), f))
		line[0] = 0;
	if (f)
		fclose(f);
	start = strchr(line, '[');
	start = start ? start + 1 : line;
	end = strpbrk(start, "] \n");
	if (end)
		*end = 0;
	if (*start)
		add(t, "\"%s\": \"%s\", ", key, start);
	else
		add(t, "\"%s\": null, ", key);
}

static char first_byte(const char *path)
{
	pz_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC);
	char byte = 0;

	return fd >= 0 && read(fd, &byte, 1) == 1 ? byte : 0;
}

static bool has_swap(void)
{
	char line[256];
	int lines = 0;
	FILE *f = fopen("/proc/swaps", "re");

	while (f && fgets(line, sizeof(line), f))
		lines++;
	if (f)
		fclose(f);
	return lines > 1;
}

int pz_probe(char *buffer, size_t size)
{
	struct text t = {buffer, size};
	uint64_t capabilities = pz_proc_capabilities(), features;
	struct utsname name;

	if (uname(&name) < 0)
		return -errno;
	add(&t, "{\"kernel\": \"%s\", \"machine\": \"%s\", \"euid\": %u, ", name.release,
	    name.machine, geteuid());
	add_bool(&t, "cap_sys_ptrace", capabilities >> CAP_SYS_PTRACE & 1);
	add_bool(&t, "cap_sys_nice", capabilities >> CAP_SYS_NICE & 1);
	features = add_uffd(&t);
	add_features(&t, features);
	add_bool(&t, "pagemap_scan", pagemap_scan());
	add_bool(&t, "process_madvise_self", process_madvise_self());
	add_child_probes(&t);
	add_bool(&t, "map_files", map_files());
	add_bool(&t, "kpageflags", readable("/proc/kpageflags"));
	add_word(&t, "thp", "/sys/kernel/mm/transparent_hugepage/enabled");
	add_bool(&t, "ksm", first_byte("/sys/kernel/mm/ksm/run") == '1');
	add(&t, "\"swap\": %s}", has_swap() ? "true" : "false");
	return 0;
}
