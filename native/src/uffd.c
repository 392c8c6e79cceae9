/* A new userfaultfd, and the ioctls of one: EINTR handled, partial results reported. */
#include <fcntl.h>

#include "pagezap/pagezap.h"

static int checked_ioctl(int fd, unsigned long request, void *argument)
{
	while (ioctl(fd, request, argument) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* By the system call, or by the device where that is refused; the error is the call's. */
int pz_uffd_new(int flags, const char **ret_how)
{
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK | flags), device, error;

	*ret_how = "syscall";
	if (fd >= 0)
		return fd;
	error = errno;
	device = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	if (device >= 0) {
		fd = ioctl(device, USERFAULTFD_IOC_NEW, O_CLOEXEC | O_NONBLOCK | flags);
		close(device);
		*ret_how = "dev";
		if (fd >= 0)
			return fd;
	}
	*ret_how = "none";
	return -error;
}

static int available_features(int flags, uint64_t *ret)
{
	const char *how;
	pz_autoclose int fd = pz_uffd_new(flags, &how);
	struct uffdio_api api = {.api = UFFD_API};
	int error;

	if (fd < 0)
		return fd;
	error = checked_ioctl(fd, UFFDIO_API, &api);
	if (error)
		return error;
	*ret = api.features;
	return 0;
}

int pz_uffd_handshake(int uffd, uint64_t wanted, uint64_t *ret)
{
	struct uffdio_api api = {.api = UFFD_API};
	uint64_t available, asked;
	int error = available_features(0, &available);

	/* Without privilege the features are read from one that serves user mode alone. */
	if (error)
		error = available_features(UFFD_USER_MODE_ONLY, &available);
	if (error)
		return error;
	asked = available & wanted;
	api.features = asked;
	error = checked_ioctl(uffd, UFFDIO_API, &api);
	if (error == -EPERM && (asked & PZ_FEATURE_EVENT_FORK)) {
		/* Without CAP_SYS_PTRACE the fork event is refused: children read zeros. */
		asked &= ~PZ_FEATURE_EVENT_FORK;
		api = (struct uffdio_api){.api = UFFD_API, .features = asked};
		error = checked_ioctl(uffd, UFFDIO_API, &api);
	}
	if (error)
		return error;
	*ret = asked;
	return 0;
}

int pz_uffd_register(int uffd, uint64_t start, uint64_t length, uint64_t modes)
{
	struct uffdio_register r = {.range = {start, length}, .mode = modes};

	return checked_ioctl(uffd, UFFDIO_REGISTER, &r);
}

int pz_uffd_unregister(int uffd, uint64_t start, uint64_t length)
{
	struct uffdio_range r = {start, length};

	return checked_ioctl(uffd, UFFDIO_UNREGISTER, &r);
}

int pz_uffd_wake(int uffd, uint64_t start, uint64_t length)
{
	struct uffdio_range r = {start, length};

	return checked_ioctl(uffd, UFFDIO_WAKE, &r);
}

int pz_uffd_copy(int uffd, uint64_t dst, const void *src, uint64_t length, bool wp, uint64_t *ret)
{
	struct uffdio_copy c = {.dst = dst,
				.src = (uint64_t)(uintptr_t)src,
				.len = length,
				.mode = wp ? UFFDIO_COPY_MODE_WP : 0};
	int error = checked_ioctl(uffd, UFFDIO_COPY, &c);

	if (ret)
		*ret = c.copy > 0 ? (uint64_t)c.copy : 0;
	return error;
}

int pz_uffd_zeropage(int uffd, uint64_t dst, uint64_t length)
{
	struct uffdio_zeropage z = {.range = {dst, length}};

	return checked_ioctl(uffd, UFFDIO_ZEROPAGE, &z);
}

/* An access to these pages fails from now on: better than zeros. */
int pz_uffd_poison(int uffd, uint64_t start, uint64_t length)
{
	struct pz_uffdio_poison p = {.start = start, .length = length};

	return checked_ioctl(uffd, PZ_UFFDIO_POISON, &p);
}

int pz_uffd_protect(int uffd, uint64_t start, uint64_t length, bool protect, bool wake)
{
	struct uffdio_writeprotect w = {.range = {start, length}};

	/* DONTWAKE is refused together with WP, and arming wakes nobody anyway. */
	if (protect)
		w.mode = UFFDIO_WRITEPROTECT_MODE_WP;
	else if (!wake)
		w.mode = UFFDIO_WRITEPROTECT_MODE_DONTWAKE;
	return checked_ioctl(uffd, UFFDIO_WRITEPROTECT, &w);
}
