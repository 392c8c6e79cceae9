/* What this kernel and these privileges allow, each probed. */
#include <stdio.h>

#include "pagezap/pagezap.h"

int pz_probe(char *buffer, size_t size)
{
	snprintf(buffer, size, "{}");
	return 0;
}
