/* What the parts of the test inferior share. */
#ifndef PAGEZAP_TEST_INFERIOR_H
#define PAGEZAP_TEST_INFERIOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096ul

uint64_t checksum(const char *at, size_t length);
bool obey_mapping(const char *word, unsigned long a, unsigned long b, char *buffer, size_t length);

#endif
