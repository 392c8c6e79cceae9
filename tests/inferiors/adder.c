/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adder
 *
 * Needs no test to talk to it: adds 1 to 5 up in memory that a watch can be set on, between
 * two calls of begin(). The sixteen pages of kept are there to be kept; each byte is 7 and the
 * number of its page. Ends with 0 if the sum is right.
 */
#include <sys/mman.h>

#define SIZE (16 * 4096)

struct item {
	long key;
	long flag;
};

struct item *it;
unsigned char *kept;

__attribute__((noinline)) void add(long n)
{
	it->key += n;
	it->flag = n;
}

__attribute__((noinline)) void begin(void)
{
}

int main(void)
{
	it = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	kept = mmap(0, SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	for (long i = 0; i < SIZE; i++)
		kept[i] = 7 + i / 4096;
	it->key = 0;
	begin();
	for (long i = 1; i < 6; i++)
		add(i);
	begin();
	return it->key == 15 ? 0 : 1;
}
