/* pagezapd: options, and the session's life. */
#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "pagezap/pagezap.h"

#ifndef PZ_VERSION
#define PZ_VERSION "0"
#endif

extern const unsigned char pz_agent_image[] __attribute__((visibility("hidden")));
extern const unsigned char pz_agent_image_end[] __attribute__((visibility("hidden")));

enum {
	OPT_PID = 1,
	OPT_UFFD,
	OPT_COMMAND,
	OPT_MAILBOX,
	OPT_CODE,
	OPT_CODE_LENGTH,
	OPT_NO_MOVE,
	OPT_RING,
	OPT_READY_FD,
	OPT_PROBE,
	OPT_AGENT,
	OPT_VERSION
};

static const struct option long_options[] = {
	{"pid", required_argument, NULL, OPT_PID},
	{"uffd", required_argument, NULL, OPT_UFFD},
	{"command", required_argument, NULL, OPT_COMMAND},
	{"mailbox", required_argument, NULL, OPT_MAILBOX},
	{"code", required_argument, NULL, OPT_CODE},
	{"code-length", required_argument, NULL, OPT_CODE_LENGTH},
	{"no-move", no_argument, NULL, OPT_NO_MOVE},
	{"ring", required_argument, NULL, OPT_RING},
	{"ready-fd", required_argument, NULL, OPT_READY_FD},
	{"probe", no_argument, NULL, OPT_PROBE},
	{"agent", required_argument, NULL, OPT_AGENT},
	{"version", no_argument, NULL, OPT_VERSION},
	{NULL, 0, NULL, 0},
};

static int usage(void)
{
	fprintf(stderr, "usage: pagezapd --pid PID --uffd N --command N --mailbox ADDR --code ADDR"
			" --code-length N\n"
			"                [--no-move] [--ring EVENTS] [--ready-fd FD]\n"
			"       pagezapd --probe | --agent FILE | --version\n");
	return 2;
}

static int write_agent(const char *path)
{
	FILE *f = fopen(path, "wbe");
	size_t length = (size_t)(pz_agent_image_end - pz_agent_image);
	bool ok;

	if (!f) {
		perror(path);
		return 1;
	}
	ok = fwrite(pz_agent_image, 1, length, f) == length;
	if (fclose(f) != 0 || !ok) {
		perror(path);
		return 1;
	}
	return 0;
}

static int probe(void)
{
	pz_autofree char *text = malloc(PZ_PACKET_MAX);
	int error = text ? pz_probe(text, PZ_PACKET_MAX) : -ENOMEM;

	if (error) {
		fprintf(stderr, "pagezapd: %s\n", strerror(-error));
		return 1;
	}
	puts(text);
	return 0;
}

static void say_ready(int fd, const char *why, int error)
{
	if (fd < 0) {
		if (why)
			fprintf(stderr, "pagezapd: %s: %s\n", why, strerror(-error));
		return;
	}
	if (why)
		dprintf(fd, "%s: %s\n", why, strerror(-error));
	else
		(void)!write(fd, "", 1); /* nobody waits where it fails */
	close(fd);
}

/*
 * A positive number in the parent, which is to end; -errno. A process group of its own: no key of a
 * terminal reaches it. Not a session of its own, for that is a scheduling group too (sched(7),
 * autogroup), and a thread of ours wakes, and gives way to, one of the inferior's best within the
 * same group.
 */
static int daemonize(void)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0)
		setpgid(0, 0);
	return pid;
}

/* A debugger starts us with signals blocked that are its own. */
static void unblock_signals(void)
{
	sigset_t none;

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static int serve(struct pz_options *o)
{
	pz_autofree struct pz_session *s = calloc(1, sizeof(*s));
	const char *why = "out of memory";
	int error;

	if (!s)
		return 1;
	if (o->ready_fd >= 0)
		fcntl(o->ready_fd, F_SETFD, FD_CLOEXEC);
	/* A child of init, not of a debugger that waits for its own children. */
	if (o->ready_fd >= 0) {
		error = daemonize();
		if (error > 0)
			return 0;
		if (error < 0) {
			say_ready(o->ready_fd, "fork", error);
			return 1;
		}
	}
	unblock_signals();
	mallopt(M_ARENA_MAX, 1);
	error = pz_session_init(s, o, &why);
	if (error) {
		uint64_t refaulted;

		if (s->shared && s->agent > 0)
			pz_release(s, false, &refaulted);
		say_ready(o->ready_fd, why, error);
		pz_session_deinit(s);
		return 1;
	}
	say_ready(o->ready_fd, NULL, 0);
	error = pz_control_run(s);
	pz_session_deinit(s);
	return error ? 1 : 0;
}

static bool number(const char *text, uint64_t *ret)
{
	char *end;

	errno = 0;
	*ret = strtoull(text, &end, 0);
	return *text && !*end && !errno;
}

int main(int argc, char **argv)
{
	struct pz_options o = {.uffd_number = -1, .command_number = -1, .ready_fd = -1};
	int option;

	while ((option = getopt_long(argc, argv, "", long_options, NULL)) != -1) {
		uint64_t value = 0;

		if (option == '?')
			return usage();
		if (option < OPT_PROBE && option != OPT_NO_MOVE && !number(optarg, &value))
			return usage();
		switch (option) {
		case OPT_PID:
			o.pid = (pid_t)value;
			break;
		case OPT_UFFD:
			o.uffd_number = (int)value;
			break;
		case OPT_COMMAND:
			o.command_number = (int)value;
			break;
		case OPT_MAILBOX:
			o.mailbox = value;
			break;
		case OPT_CODE:
			o.code = value;
			break;
		case OPT_CODE_LENGTH:
			o.code_length = value;
			break;
		case OPT_NO_MOVE:
			o.no_move = true;
			break;
		case OPT_RING:
			o.ring = (uint32_t)value;
			break;
		case OPT_READY_FD:
			o.ready_fd = (int)value;
			break;
		case OPT_PROBE:
			return probe();
		case OPT_AGENT:
			return write_agent(optarg);
		case OPT_VERSION:
			puts("pagezapd " PZ_VERSION);
			return 0;
		default:
			return usage();
		}
	}
	if (o.pid <= 0 || o.uffd_number < 0 || o.command_number < 0 || !o.mailbox || !o.code ||
	    o.code_length != PZ_AGENT_CODE_LENGTH || optind != argc)
		return usage();
	return serve(&o);
}
