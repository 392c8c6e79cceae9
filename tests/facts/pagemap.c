/* What pagemap shows of pages that are not there. */
#include "facts.h"

#define MISSING UFFDIO_REGISTER_MODE_MISSING
#define WP	UFFDIO_REGISTER_MODE_WP

struct scan {
	uint64_t size, flags, start, end, walk_end, vec, vec_len, max_pages;
	uint64_t category_inverted, category_mask, category_anyof_mask, return_mask;
};
struct scan_region {
	uint64_t start, end, categories;
};
#define IOCTL_SCAN    _IOWR('f', 16, struct scan)
#define SCAN_WRITTEN  (1ull << 1)
#define SCAN_PRESENT  (1ull << 3)
#define SCAN_SWAPPED  (1ull << 4)
#define SCAN_PFNZERO  (1ull << 5)
#define SCAN_CATEGORY (SCAN_WRITTEN | SCAN_PRESENT | SCAN_SWAPPED | SCAN_PFNZERO)

/* present, swapped, write-protected, guard; and for what is swapped: type and offset. */
static void describe(const char *key, uint64_t entry)
{
	bool swapped = entry >> 62 & 1;
	char kind[64] = "";

	if (swapped)
		snprintf(kind, sizeof(kind), " type %llu offset %llu",
			 (unsigned long long)(entry & 31),
			 (unsigned long long)(entry >> 5 & ((1ull << 50) - 1)));
	if (!entry)
		say(key, "empty");
	else
		say(key, "%s%s%s%s%s", entry >> 63 ? "present" : "", swapped ? "swapped" : "",
		    entry >> 57 & 1 ? " wp" : "", entry >> 58 & 1 ? " guard" : "", kind);
}

/* The categories of one page, named. */
static void scan(const char *key, pid_t pid, unsigned long at)
{
	struct scan_region region = {0};
	struct scan s = {.size = sizeof(s),
			 .start = at,
			 .end = at + PAGE,
			 .vec = (uintptr_t)&region,
			 .vec_len = 1,
			 .category_anyof_mask = SCAN_CATEGORY,
			 .return_mask = SCAN_CATEGORY};
	char path[64];
	int fd, found;

	snprintf(path, sizeof(path), "/proc/%d/pagemap", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0);
	found = ioctl(fd, IOCTL_SCAN, &s);
	if (found < 0)
		lacking("scan", "no PAGEMAP_SCAN");
	else
		say(key, "%d%s%s%s%s", found, region.categories & SCAN_PRESENT ? " PRESENT" : "",
		    region.categories & SCAN_SWAPPED ? " SWAPPED" : "",
		    region.categories & SCAN_PFNZERO ? " PFNZERO" : "",
		    region.categories & SCAN_WRITTEN ? " WRITTEN" : "");
	close(fd);
}

/* The target's memory under a userfaultfd with the features. */
static int begin(struct target *t, unsigned long *at, uint64_t features, uint64_t modes,
		 long shared_flags)
{
	int number, fd;

	*t = target_start(1);
	*at = shared_flags ? (unsigned long)CALL(t, 0, SYS_mmap, 0, 8 * PAGE,
						 PROT_READ | PROT_WRITE, shared_flags, -1, 0)
			   : target_map(t, 8);
	target_fill(t, *at, 2, 7);
	fd = uffd_take(t, features, &number);
	MUST(uffd_register(fd, *at, 8 * PAGE, modes) == 0);
	return fd;
}

int main(void)
{
	uint64_t features = features_or_end();
	unsigned long at, guard;
	struct target t;
	int fd;

	fd = begin(&t, &at, 0, MISSING, 0);
	describe("entry.unpopulated", pagemap_of(t.pid, at + 3 * PAGE));
	say_bool("entry.populated-is-present", present(t.pid, at));
	MUST(uffd_zero(fd, at + 4 * PAGE) == 0);
	say_bool("entry.zero-page-is-present", present(t.pid, at + 4 * PAGE));
	scan("scan.zero-page", t.pid, at + 4 * PAGE);
	scan("scan.unpopulated", t.pid, at + 3 * PAGE);
	if (features & FEATURE_POISON) {
		struct uffd_poison p = {.start = at + 5 * PAGE, .len = PAGE};

		MUST(xioctl(fd, IOCTL_POISON, &p) == 0);
		describe("poison-marker.entry", pagemap_of(t.pid, at + 5 * PAGE));
	} else {
		lacking("poison-marker", "no UFFDIO_POISON");
	}
	close(fd);
	guard = target_map(&t, 1);
	if (CALL(&t, 0, SYS_madvise, guard, PAGE, ADVICE_GUARD_INSTALL)) {
		lacking("guard-marker", "no MADV_GUARD_INSTALL");
	} else {
		describe("guard-marker.entry", pagemap_of(t.pid, guard));
		scan("guard-marker.scan", t.pid, guard);
	}
	target_end(&t);

	if (features & FEATURE_WP) {
		fd = begin(&t, &at, 0, MISSING | WP, 0);
		MUST(uffd_protect(fd, at, true) == 0);
		MUST(uffd_protect(fd, at + 3 * PAGE, true) == 0);
		say_bool("wp.present-has-bit-57", pagemap_of(t.pid, at) >> 57 & 1);
		say_bool("wp.present", present(t.pid, at));
		describe("wp.on-an-empty-page", pagemap_of(t.pid, at + 3 * PAGE));
		MUST(CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED) == 0);
		describe("wp.after-an-anonymous-zap", pagemap_of(t.pid, at));
		close(fd);
		target_end(&t);
	} else {
		lacking("wp", "no write-protection");
	}
	if (features & FEATURE_WP_UNPOPULATED) {
		fd = begin(&t, &at, FEATURE_WP_UNPOPULATED, MISSING | WP, 0);
		MUST(uffd_protect(fd, at + 3 * PAGE, true) == 0);
		describe("unpopulated-marker.entry", pagemap_of(t.pid, at + 3 * PAGE));
		scan("unpopulated-marker.scan", t.pid, at + 3 * PAGE);
		say_result("unpopulated-marker.COPY-over-it", uffd_copy(fd, at + 3 * PAGE, 5, 0));
		MUST(uffd_protect(fd, at + 4 * PAGE, true) == 0);
		MUST(uffd_protect(fd, at + 4 * PAGE, false) == 0);
		describe("unpopulated-marker.unprotected", pagemap_of(t.pid, at + 4 * PAGE));
		close(fd);
		target_end(&t);
	} else {
		lacking("unpopulated-marker", "no WP_UNPOPULATED");
	}
	if (features & FEATURE_WP_HUGE_SHMEM) {
		fd = begin(&t, &at, 0, MISSING | WP, MAP_SHARED | MAP_ANONYMOUS);
		MUST(uffd_protect(fd, at, true) == 0);
		MUST(CALL(&t, 0, SYS_madvise, at, PAGE, MADV_DONTNEED) == 0);
		describe("shmem-marker.after-a-zap", pagemap_of(t.pid, at));
		close(fd);
		target_end(&t);
	} else {
		lacking("shmem-marker", "no write-protection of shmem");
	}
	return 0;
}
