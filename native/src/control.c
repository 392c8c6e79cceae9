/* The control socket and the main loop. */
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "pagezap/pagezap.h"

#define CHECK_US     1000000
#define LEFTOVER_US  50000
#define REARM_US     1000
#define REARM_ALL_US 1000000 /* where too many pages are open to name each */
#define ORPHAN_US    30000000
#define LAST_US	     10000000
#define FIXED	     4

int pz_control_init(struct pz_session *s)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int n;

	s->listen_fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->listen_fd < 0)
		return -errno;
	n = snprintf(address.sun_path + 1, sizeof(address.sun_path) - 1, "pagezap-%u-%d-%llu",
		     getuid(), s->options.pid,
		     (unsigned long long)pz_proc_start_time(s->options.pid));
	if (bind(s->listen_fd, (struct sockaddr *)&address,
		 (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n)) < 0)
		return -errno;
	return listen(s->listen_fd, 8) < 0 ? -errno : 0;
}

static void accept_client(struct pz_session *s)
{
	int fd = accept4(s->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct ucred who;
	socklen_t length = sizeof(who);

	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &length) == 0 &&
	    (who.uid == getuid() || who.uid == 0)) {
		for (int i = 0; i < PZ_MAX_CLIENTS; i++) {
			if (s->client[i].fd < 0) {
				s->client[i] = (struct pz_client){.fd = fd};
				return;
			}
		}
	}
	close(fd);
}

static void owner_gone(struct pz_session *s)
{
	uint64_t refaulted;

	if (pz_release(s, true, &refaulted) == 0)
		s->ended = true;
	else
		s->owner_lost = true; /* tried again by the tick */
}

static void drop_client(struct pz_session *s, struct pz_client *c)
{
	bool owner = c->owner;

	close(c->fd);
	*c = (struct pz_client){.fd = -1};
	if (owner && !s->ended)
		owner_gone(s);
}

/* Receives a packet and the descriptor it may carry. */
static ssize_t receive(int client, void *buffer, size_t size, int *ret_fd)
{
	char control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {buffer, size};
	struct msghdr m = {.msg_iov = &iov,
			   .msg_iovlen = 1,
			   .msg_control = control,
			   .msg_controllen = CMSG_LEN(sizeof(int))}; /* no room for two */
	ssize_t n = recvmsg(client, &m, MSG_CMSG_CLOEXEC | MSG_TRUNC);

	for (struct cmsghdr *h = n >= 0 ? CMSG_FIRSTHDR(&m) : NULL; h; h = CMSG_NXTHDR(&m, h)) {
		if (h->cmsg_level == SOL_SOCKET && h->cmsg_type == SCM_RIGHTS)
			memcpy(ret_fd, CMSG_DATA(h), sizeof(int));
	}
	return n;
}

/* -EAGAIN for a client that leaves its answers unread: nobody else waits for it. */
static int answer(struct pz_client *c, const struct pz_header *request, const struct pz_reply *r)
{
	struct pz_header h = {.version = PZ_PROTOCOL,
			      .op = request->op,
			      .length = r->length,
			      .sequence = request->sequence,
			      .status = r->status};
	struct iovec iov[2] = {{&h, sizeof(h)}, {(void *)(uintptr_t)r->payload, r->length}};
	struct msghdr m = {.msg_iov = iov, .msg_iovlen = 2};

	while (sendmsg(c->fd, &m, MSG_NOSIGNAL) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static void serve_client(struct pz_session *s, struct pz_client *c, uint8_t *packet,
			 struct pz_reply *reply)
{
	struct pz_header h = {0};
	pz_autoclose int fd = -1;
	ssize_t n = receive(c->fd, packet, PZ_PACKET_MAX, &fd);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		drop_client(s, c);
		return;
	}
	reply->status = 0;
	reply->length = 0;
	reply->end = false;
	memcpy(&h, packet, pz_min((uint64_t)n, sizeof(h)));
	if ((size_t)n < sizeof(h) || n > PZ_PACKET_MAX || h.version != PZ_PROTOCOL ||
	    h.length != (size_t)n - sizeof(h) || h.status)
		reply->status = -EPROTO;
	else if (s->dead && h.op != PZ_OP_TRACE_READ)
		reply->status = -ESRCH;
	else
		pz_op_dispatch(s, c, h.op, packet + sizeof(h), h.length, fd, reply);
	if (reply->status)
		reply->length = 0;
	if (reply->end)
		s->ended = true;
	if (answer(c, &h, reply) == -EAGAIN)
		drop_client(s, c);
}

/*
 * An exec gave the inferior another mm: nothing of ours is in it. Where it is the agent
 * that has gone, killed by somebody, everything is brought back without it.
 */
static void check_inferior(struct pz_session *s)
{
	uint64_t refaulted;

	if (!pz_agent_alive(s)) {
		if (pz_release(s, false, &refaulted) == 0)
			s->ended = true;
		return;
	}
	if (pz_proc_same_mm(s->agent, s->options.pid))
		return;
	s->dead = true;
	s->ended = true;
}

/* Nobody ever said that the session is his: the debugger died before it could. */
static bool orphaned(const struct pz_session *s, uint64_t now)
{
	for (int i = 0; i < PZ_MAX_CLIENTS; i++) {
		if (s->client[i].fd >= 0)
			return false;
	}
	return !s->owned && now - s->start_us >= ORPHAN_US;
}

static uint64_t rearm_after(const struct pz_session *s)
{
	return s->rearm.overflow || s->open.overflow ? REARM_ALL_US : REARM_US;
}

/* What is done while time passes. */
static void tick(struct pz_session *s)
{
	uint64_t now = pz_now_us();

	pz_place_watch(s);
	{
		PZ_LOCKED(s);
		if (s->n_deferred_hits && !s->shown)
			pz_hits_tick(s);
		if (pz_rearm_waits(s) && now - s->rearm_us >= rearm_after(s)) {
			s->rearm_us = now;
			if (!s->shown && !s->detaching) {
				pz_rearm_tick(s);
			}
		}
	}
	if (s->count.leftovers && now - s->leftover_us >= LEFTOVER_US) {
		s->leftover_us = now;
		pz_free_leftovers(s);
	}
	if (s->n_garbage)
		pz_free_garbage(s);
	if (now - s->check_us >= CHECK_US) {
		s->check_us = now;
		check_inferior(s);
		if ((s->owner_lost || orphaned(s, now)) && !s->ended)
			owner_gone(s);
	}
}

static struct timespec next_tick(struct pz_session *s)
{
	uint64_t us = CHECK_US;

	PZ_LOCKED(s);
	if (s->count.leftovers)
		us = pz_min(us, LEFTOVER_US);
	if (atomic_load(&s->placement.hot) || s->placement.rechecks)
		us = pz_min(us, PZ_WATCH_US);
	if (pz_rearm_waits(s) && !s->shown && !s->detaching)
		us = pz_min(us, rearm_after(s));
	if (s->n_deferred_hits && !s->shown)
		us = pz_min(us, s->deferred_us);
	return (struct timespec){(time_t)(us / 1000000), (long)(us % 1000000) * 1000};
}

static void inferior_ended(struct pz_session *s)
{
	s->dead = true;
	s->ended = true;
}

static void handle_signal(struct pz_session *s)
{
	uint64_t refaulted;

	if (pz_release(s, false, &refaulted) == 0)
		s->ended = true;
}

/* The debugger hears of the inferior's end after us, and reads then what was recorded. */
static void serve_last(struct pz_session *s, uint8_t *packet, struct pz_reply *reply)
{
	uint64_t end = pz_now_us() + LAST_US;

	for (int i = 0; i < PZ_MAX_CLIENTS; i++) {
		struct pz_client *c = &s->client[i];

		while (c->owner && s->trace.next > s->trace.first && pz_now_us() < end) {
			struct pollfd p = {.fd = c->fd, .events = POLLIN};

			if (poll(&p, 1, 1000) > 0)
				serve_client(s, c, packet, reply);
		}
	}
}

int pz_control_run(struct pz_session *s)
{
	pz_autofree uint8_t *packet = malloc(PZ_PACKET_MAX);
	pz_autofree struct pz_reply *reply = malloc(sizeof(*reply));
	uint64_t kicks;

	if (!packet || !reply)
		return -ENOMEM;
	while (!s->ended) {
		struct pollfd p[FIXED + PZ_MAX_CLIENTS] = {{.fd = s->listen_fd, .events = POLLIN},
							   {.fd = s->kick_fd, .events = POLLIN},
							   {.fd = s->signal_fd, .events = POLLIN},
							   {.fd = s->pidfd, .events = POLLIN}};
		struct timespec timeout = next_tick(s);

		for (int i = 0; i < PZ_MAX_CLIENTS; i++)
			p[FIXED + i] = (struct pollfd){.fd = s->client[i].fd, .events = POLLIN};
		if (ppoll(p, FIXED + PZ_MAX_CLIENTS, &timeout, NULL) < 0 && errno != EINTR)
			return -errno;
		if (p[3].revents) {
			inferior_ended(s);
			break;
		}
		if (p[1].revents && read(s->kick_fd, &kicks, sizeof(kicks)) < 0)
			continue;
		tick(s);
		if (p[2].revents)
			handle_signal(s);
		for (int i = 0; !s->ended && i < PZ_MAX_CLIENTS; i++) {
			if (p[FIXED + i].fd >= 0 && p[FIXED + i].revents)
				serve_client(s, &s->client[i], packet, reply);
		}
		if (!s->ended && p[0].revents)
			accept_client(s);
	}
	if (s->dead) {
		/* A child may be getting its content from the memory that the agent holds. */
		pz_fault_stop(s);
		pz_agent_end(s);
		s->shared->finished = 1;
		serve_last(s, packet, reply);
	}
	return 0;
}
