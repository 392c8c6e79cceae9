/* SPDX-License-Identifier: Apache-2.0 */
/* A 32-bit program that needs no 32-bit C library: it waits to be killed. */
char buffer[65536];

void _start(void)
{
	buffer[0] = 1;
	for (;;)
		__asm__ volatile("int $0x80" ::"a"(29) : "memory"); /* pause */
}
