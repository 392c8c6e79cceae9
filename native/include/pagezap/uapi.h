/* Kernel interfaces that the oldest supported headers (Debian 12, Linux 6.1) lack. */
#ifndef PAGEZAP_UAPI_H
#define PAGEZAP_UAPI_H

#include <fcntl.h>
#include <linux/types.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

#define PZ_FEATURE_WP		  (1ull << 0)
#define PZ_FEATURE_EVENT_FORK	  (1ull << 1)
#define PZ_FEATURE_EVENT_REMAP	  (1ull << 2)
#define PZ_FEATURE_EVENT_REMOVE	  (1ull << 3)
#define PZ_FEATURE_MISSING_HUGE	  (1ull << 4)
#define PZ_FEATURE_MISSING_SHMEM  (1ull << 5)
#define PZ_FEATURE_EVENT_UNMAP	  (1ull << 6)
#define PZ_FEATURE_THREAD_ID	  (1ull << 8)
#define PZ_FEATURE_MINOR_SHMEM	  (1ull << 10)
#define PZ_FEATURE_EXACT_ADDRESS  (1ull << 11)
#define PZ_FEATURE_WP_HUGE_SHMEM  (1ull << 12)
#define PZ_FEATURE_WP_UNPOPULATED (1ull << 13)
#define PZ_FEATURE_POISON	  (1ull << 14)
#define PZ_FEATURE_WP_ASYNC	  (1ull << 15)
#define PZ_FEATURE_MOVE		  (1ull << 16)
#define PZ_FEATURE_RWP		  (1ull << 17) /* proposed; named only by the probe */

struct pz_uffdio_move {
	__u64 dst;
	__u64 src;
	__u64 len;
	__u64 mode;
	__s64 move;
};
#define PZ_UFFDIO_MOVE _IOWR(UFFDIO, 0x05, struct pz_uffdio_move)
struct pz_uffdio_poison {
	__u64 start;
	__u64 length;
	__u64 mode;
	__s64 updated;
};
#define PZ_UFFDIO_POISON	     _IOWR(UFFDIO, 0x08, struct pz_uffdio_poison)
#define PZ_MOVE_MODE_ALLOW_SRC_HOLES (1ull << 1)

#ifndef USERFAULTFD_IOC_NEW
#define USERFAULTFD_IOC_NEW _IO(0xAA, 0x00)
#endif
#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd 438
#endif
#define PZ_PIDFD_THREAD O_EXCL
#ifndef SYS_process_madvise
#define SYS_process_madvise 440
#endif

struct pz_pm_scan_arg {
	__u64 size;
	__u64 flags;
	__u64 start;
	__u64 end;
	__u64 walk_end;
	__u64 vec;
	__u64 vec_len;
	__u64 max_pages;
	__u64 category_inverted;
	__u64 category_mask;
	__u64 category_anyof_mask;
	__u64 return_mask;
};
struct pz_page_region {
	__u64 start;
	__u64 end;
	__u64 categories;
};
#define PZ_PAGEMAP_SCAN _IOWR('f', 16, struct pz_pm_scan_arg)

/* What rt_sigaction(2) takes on x86-64 and aarch64 (the kernel's layout, not libc's). */
struct pz_kernel_sigaction {
	__u64 handler;
	__u64 flags;
	__u64 restorer;
	__u64 mask;
};

#endif
