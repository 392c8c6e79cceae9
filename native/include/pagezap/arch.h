/* What differs between architectures. */
#ifndef PAGEZAP_ARCH_H
#define PAGEZAP_ARCH_H

#include <stdint.h>
#include <sys/types.h>

int pz_arch_remote_syscall(pid_t pid, uint64_t at, long number, uint64_t a, uint64_t b, long *ret);

#endif
