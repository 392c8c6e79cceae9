/*
 * The session's lock, which the main thread and the fault thread share. The fault thread takes
 * it for every fault and gives it up within microseconds; the main thread holds it over longer
 * work, in chunks, and makes room where the fault thread waits.
 *
 * A fault thread that holds it may be SCHED_IDLE (placement.c), and preempted: then it gets no
 * CPU while others want it, and the main thread has its policy made normal.
 */
#include "pagezap/pagezap.h"

#define PATIENCE_NS 200000  /* with the fault thread, which holds the lock for a fault */
#define LOCK_NS	    2000000 /* with a holder that may starve */
#define ROOM_US	    20	    /* for a fault thread that waits */

static int lock_within(struct pz_session *s, long ns)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += ns;
	if (until.tv_nsec >= 1000000000) {
		until.tv_nsec -= 1000000000;
		until.tv_sec++;
	}
	return pthread_mutex_clocklock(&s->lock, CLOCK_MONOTONIC, &until);
}

/* Main thread. The holder may become SCHED_IDLE again while we wait. */
void pz_lock(struct pz_session *s)
{
	if (pthread_mutex_trylock(&s->lock) == 0 || lock_within(s, PATIENCE_NS) == 0)
		return;
	pz_place_cool(s, false);
	while (lock_within(s, LOCK_NS))
		pz_place_cool(s, true);
}

/* Fault thread. */
void pz_lock_for_fault(struct pz_session *s)
{
	if (pthread_mutex_trylock(&s->lock) == 0)
		return;
	atomic_fetch_add(&s->fault_wants, 1);
	pthread_mutex_lock(&s->lock);
	atomic_fetch_sub(&s->fault_wants, 1);
}

/* Gives the lock up for so long: what waits for it is done meanwhile. Main thread, lock held. */
void pz_lock_give_up(struct pz_session *s, unsigned int us)
{
	pthread_mutex_unlock(&s->lock);
	pz_sleep_us(us);
	pz_lock(s);
}

/* Between two chunks: lets the fault thread have the lock. Main thread, lock held. */
void pz_lock_make_room(struct pz_session *s)
{
	if (atomic_load(&s->fault_wants))
		pz_lock_give_up(s, ROOM_US);
}

/* The same where the lock is not held. */
void pz_main_pause(struct pz_session *s)
{
	pz_place_watch(s);
	if (atomic_load(&s->fault_wants))
		pz_sleep_us(ROOM_US);
}
