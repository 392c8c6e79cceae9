/* send PID TID SIGNAL VALUE: queues a signal to one thread, with a value. */
#include "facts.h"

int main(int argc, char **argv)
{
	siginfo_t info = {.si_code = SI_QUEUE};

	MUST(argc == 5);
	info.si_signo = atoi(argv[3]);
	info.si_pid = getpid();
	info.si_uid = getuid();
	info.si_value.sival_ptr = (void *)strtoul(argv[4], NULL, 0);
	MUST(RAW(SYS_rt_tgsigqueueinfo, atoi(argv[1]), atoi(argv[2]), info.si_signo, &info) == 0);
	return 0;
}
