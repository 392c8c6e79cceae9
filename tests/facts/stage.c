/*
 * Inferiors for the debuggers' facts. argv[1] names the part; "ready" is printed
 * once it plays, and further lines tell how it went.
 */
#include "facts.h"

static volatile bool go_on = true;
static volatile sig_atomic_t trapped;
static volatile unsigned long beats;
char *missing;

static void *spin(void *unused)
{
	(void)unused;
	while (go_on)
		beats++;
	return NULL;
}

static void ready(void)
{
	printf("ready\n");
	fflush(stdout);
}

static void on_trap(int number)
{
	(void)number;
	trapped = 1;
}

/* A page that nobody serves: missing, or present and protected. */
static void make_unserved(bool protected)
{
	struct uffdio_api api = {.api = UFFD_API};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	if (fd < 0) {
		printf("userfaultfd(2) is not permitted here\n");
		exit(0);
	}
	MUST(xioctl(fd, UFFDIO_API, &api) == 0);
	missing = own_map(1, 0);
	if (!protected) {
		MUST(uffd_register(fd, (unsigned long)missing, PAGE,
				   UFFDIO_REGISTER_MODE_MISSING) == 0);
		return;
	}
	missing[0] = 7;
	if (uffd_register(fd, (unsigned long)missing, PAGE, UFFDIO_REGISTER_MODE_WP) ||
	    uffd_protect(fd, (unsigned long)missing, true)) {
		printf("no write-protection\n");
		exit(0);
	}
}

static void *release(void *at)
{
	unsigned int *word = at;
	char line[16];

	/* The test says when. */
	if (fgets(line, sizeof(line), stdin)) {
		__atomic_store_n(word, 1, __ATOMIC_RELEASE);
		RAW(SYS_futex, word, FUTEX_WAKE, 1);
	}
	return NULL;
}

static void play(const char *part)
{
	pthread_t thread;
	long result;

	if (!strcmp(part, "threads")) {
		for (int i = 0; i < 3; i++)
			MUST(pthread_create(&thread, NULL, spin, NULL) == 0);
		ready();
		spin(NULL);
	} else if (!strcmp(part, "spin")) {
		ready();
		spin(NULL);
	} else if (!strcmp(part, "guarded")) {
		struct sigaction action = {.sa_handler = on_trap, .sa_flags = SA_RESTART};

		MUST(sigaction(SIGTRAP, &action, NULL) == 0);
		ready();
		while (!trapped)
			beats++;
		printf("trapped\n");
	} else if (!strcmp(part, "fault")) {
		make_unserved(false);
		ready();
		load_byte((unsigned long)missing + 8);
	} else if (!strcmp(part, "protected")) {
		make_unserved(true);
		ready();
		spin(NULL);
	} else if (!strcmp(part, "sleep")) {
		struct timespec time = {.tv_sec = 3};

		ready();
		printf("nanosleep=%ld\n", RAW(SYS_nanosleep, &time, NULL));
	} else if (!strcmp(part, "futex")) {
		static unsigned int word;

		MUST(pthread_create(&thread, NULL, release, &word) == 0);
		ready();
		result = RAW(SYS_futex, &word, FUTEX_WAIT, 0, NULL);
		printf("futex=%ld word=%u\n", result, word);
	} else if (!strcmp(part, "read")) {
		char byte = 0;

		ready();
		result = RAW(SYS_read, 0, &byte, 1);
		printf("read=%ld byte=%c\n", result, byte);
	}
	fflush(stdout);
}

int main(int argc, char **argv)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	prctl(PR_SET_PTRACER, PR_SET_PTRACER_ANY);
	MUST(argc > 1);
	play(argv[1]);
	return 0;
}
