/*
 * Where the fault thread runs. A fault served on the faulting thread's own CPU costs
 * a quarter of one served across CPUs, where each side wakes an idle CPU. So where one
 * thread faults again and again the fault thread is pinned to its CPU, with SCHED_IDLE:
 * the scheduler takes a CPU that runs only such tasks for idle, so that the thread it
 * wakes stays there instead of moving to another one. The main thread goes there as well:
 * where it fell asleep on another CPU, that one would pull the faulting thread over. That
 * the woken thread runs at once holds within one scheduling group (see daemonize() in main.c);
 * across two it does so as a rule.
 *
 * A SCHED_IDLE task starves where others want the CPU. It is one only during a burst, and
 * only while it need not wait for its CPU: it checks its own waiting time, and the main
 * thread, whose policy is the normal one and which gets its share of that CPU, ends it where
 * it can run and does not, or does not give the lock (lock.c). After that longer and longer
 * pass until the next time.
 */
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <sys/resource.h>

#include "pagezap/pagezap.h"

#define ROW	       32      /* faults of one thread in a row */
#define CHECK_ROWS     4       /* of these, between two checks of its own waiting time */
#define SLOW	       2       /* slow faults before it is asked where the thread runs */
#define BURST_NS       200000  /* a fault, on the average of a row */
#define WAITED_NS      2000000 /* for its CPU, between two checks: others want it */
#define BACKOFF_MIN_US 20000
#define BACKOFF_MAX_US 500000
#define RECHECKS       10      /* PZ_WATCH_US apart */
#define CALM_US	       1000000 /* between two checks of a policy that should be normal */
#define NICE_ZERO      20      /* nice 0, as RLIMIT_NICE counts */

static void set_policy(pid_t tid, int policy)
{
	const struct sched_param none = {0};

	sched_setscheduler(tid, policy, &none);
}

static bool set_cpu(pid_t tid, int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(tid, sizeof(set), &set) == 0;
}

/* Both threads run where they may, with the normal policy. */
static void loosen(const struct pz_placement *p)
{
	pid_t tid = atomic_load(&p->fault_tid);

	if (tid) {
		set_policy(tid, SCHED_OTHER);
		sched_setaffinity(tid, sizeof(p->allowed), &p->allowed);
	}
	sched_setaffinity(getpid(), sizeof(p->allowed), &p->allowed);
}

/* Leaving SCHED_IDLE takes a privilege: without it there is no way back. */
static bool may_leave_idle(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NICE, &limit) == 0 && limit.rlim_cur >= NICE_ZERO)
		return true;
	return pz_proc_capabilities() >> CAP_SYS_NICE & 1;
}

/* Main thread, before there is another. */
void pz_place_prepare(struct pz_session *s)
{
	s->placement = (struct pz_placement){
		.may_idle = may_leave_idle(), .backoff_us = BACKOFF_MIN_US, .cpu = -1};
	sched_getaffinity(0, sizeof(s->placement.allowed), &s->placement.allowed);
}

/* Fault thread, as it begins. */
void pz_place_init(struct pz_session *s)
{
	atomic_store(&s->placement.fault_tid, gettid());
}

/* Others want the CPU: not again for a while, each time a longer one. */
static void back_off(struct pz_placement *p)
{
	uint64_t backoff = atomic_load(&p->backoff_us);

	atomic_store(&p->not_before, pz_now_us() + backoff);
	atomic_store(&p->backoff_us, pz_min(backoff * 2, BACKOFF_MAX_US));
}

/* Field 39 of the task's stat: the CPU it ran on last; -1 for a real-time task (field 40). */
static int task_cpu(struct pz_session *s, pid_t tid)
{
	char text[1024];
	const char *at;
	int cpu, priority;

	if (pz_cache_read(&s->stat_files, s->options.pid, tid, text, sizeof(text)) <= 0)
		return -1;
	at = pz_proc_stat_field(text, 39);
	return at && sscanf(at, "%d %d", &cpu, &priority) == 2 && !priority ? cpu : -1;
}

/* Back to normal. Fault thread. */
static void cool(struct pz_session *s)
{
	struct pz_placement *p = &s->placement;

	p->in_row = 0;
	if (p->cpu < 0)
		return;
	p->cpu = -1;
	atomic_store(&p->hot, false);
	loosen(p);
}

static void heat(struct pz_session *s, pid_t tid)
{
	struct pz_placement *p = &s->placement;
	int cpu = task_cpu(s, tid);

	if (cpu < 0 || cpu >= CPU_SETSIZE) {
		cool(s);
		return;
	}
	if (cpu == p->cpu && (atomic_load(&p->hot) || !p->may_idle)) {
		p->usual_ns = p->gap_ns; /* not moved: this is its pace now */
		return;
	}
	p->cpu = cpu;
	p->usual_ns = 0;
	if (!set_cpu(0, cpu) || (p->may_idle && !set_cpu(getpid(), cpu))) {
		cool(s); /* not a CPU of ours */
		return;
	}
	if (p->may_idle && !atomic_load(&p->hot)) {
		atomic_store(&p->hot, true);
		pz_kick(s); /* the main thread watches from now on */
		set_policy(0, SCHED_IDLE);
	}
}

/* Does it wait for its CPU, and not only while the faulting thread runs on it? */
static bool starves(struct pz_session *s, pid_t tid)
{
	struct pz_placement *p = &s->placement;
	uint64_t own = pz_cache_sched(&s->sched_files, getpid(), p->fault_tid).waited_ns,
		 its = pz_cache_sched(&s->sched_files, s->options.pid, tid).ran_ns,
		 before = p->waited_ns;

	if (!its)
		return false; /* it has ended */
	p->waited_ns = own - its;
	return atomic_load(&p->hot) && (int64_t)(p->waited_ns - before) > WAITED_NS;
}

/* Some faults in turn took twice the usual: the thread may have been moved to another CPU. */
static bool slowed(struct pz_placement *p)
{
	if (p->gap_ns > 2 * p->usual_ns) {
		if (++p->slow < SLOW)
			return false;
		p->slow = 0;
		return true;
	}
	p->slow = 0;
	p->usual_ns = (p->usual_ns * 15 + p->gap_ns) / 16;
	return false;
}

/* After every fault. Fault thread, lock not held. */
void pz_place_fault(struct pz_session *s, pid_t tid)
{
	struct pz_placement *p = &s->placement;
	uint64_t now = pz_now_ns();

	atomic_fetch_add_explicit(&p->progress, 1, memory_order_relaxed);
	p->gap_ns = now - p->last_ns;
	p->last_ns = now;
	if (tid != p->tid) {
		p->tid = tid;
		cool(s);
		return;
	}
	if (p->in_row == 0)
		p->row_start_ns = now;
	if (++p->in_row < ROW) {
		if (p->cpu >= 0 && p->may_idle && !atomic_load(&p->hot))
			cool(s); /* the main thread has ended it */
		else if (p->cpu >= 0 && slowed(p))
			heat(s, tid);
		return;
	}
	p->in_row = 0;
	if (now - p->row_start_ns > BURST_NS * ROW || now / 1000 < p->not_before) {
		cool(s);
	} else if (p->cpu < 0) {
		starves(s, tid);
		p->rows = 0;
		heat(s, tid);
	} else if (++p->rows == CHECK_ROWS) {
		p->rows = 0;
		if (starves(s, tid)) {
			back_off(p);
			cool(s);
		}
	}
}

/* Main thread: back to normal from outside; with a penalty where it starved. */
void pz_place_cool(struct pz_session *s, bool starved)
{
	struct pz_placement *p = &s->placement;

	if (!atomic_exchange(&p->hot, false))
		return;
	if (starved)
		back_off(p);
	else
		atomic_store(&p->backoff_us,
			     pz_max(atomic_load(&p->backoff_us) / 2, BACKOFF_MIN_US));
	loosen(p);
	p->rechecks = RECHECKS;
}

/* The fault thread was about to become SCHED_IDLE when that was undone: nobody watches it. */
static void recheck(struct pz_session *s)
{
	struct pz_placement *p = &s->placement;
	pid_t tid = atomic_load(&p->fault_tid);

	if (p->rechecks)
		p->rechecks--;
	if (tid && sched_getscheduler(tid) == SCHED_IDLE && !atomic_load(&p->hot))
		loosen(p);
}

/* Main thread: the fault thread is to end. */
void pz_place_end(struct pz_session *s)
{
	atomic_store(&s->placement.hot, false);
	loosen(&s->placement);
}

/* Main thread: did the burst end, or does a fault wait and nothing happens? */
void pz_place_watch(struct pz_session *s)
{
	struct pz_placement *p = &s->placement;
	uint64_t now, progress;

	now = pz_now_us();
	if (now - p->watched_us < (atomic_load(&p->hot) || p->rechecks ? PZ_WATCH_US : CALM_US))
		return;
	if (!atomic_load(&p->hot)) {
		p->watched_us = now;
		recheck(s);
		return;
	}
	progress = atomic_load(&p->progress);
	if (progress == p->watched_progress)
		pz_place_cool(s, pz_proc_state(getpid(), p->fault_tid) == 'R');
	p->watched_us = now;
	p->watched_progress = progress;
}
