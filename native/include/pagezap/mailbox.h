/* The command page shared by the helper and the agent, and the agent image's layout. */
#ifndef PAGEZAP_MAILBOX_H
#define PAGEZAP_MAILBOX_H

#define PZ_AGENT_READY	      0x70617a31u /* "1zap" */
#define PZ_AGENT_TABLE	      16	  /* offset of struct pz_agent_table in the image */
#define PZ_AGENT_MAGIC	      0x5a474150  /* "PAGZ" */
#define PZ_AGENT_CODE_LENGTH  16384	  /* page 0 code, pages 1..3 stacks */
#define PZ_MAILBOX_MOVE	      512	  /* struct pz_uffdio_move */
#define PZ_MAILBOX_SIGNAL     640	  /* struct pz_kernel_sigaction, new */
#define PZ_MAILBOX_SIGNAL_OLD 704	  /* struct pz_kernel_sigaction, old */

#ifndef __ASSEMBLER__
struct pz_mailbox {
	unsigned int ready; /* PZ_AGENT_READY once the agent loops */
	int agent_tid;
	unsigned int sequence; /* futex: written by the helper */
	unsigned int done;     /* futex: written by the agent */
	long long number;
	long long argument[6];
	long long result;
};

struct pz_agent_table {
	unsigned int magic;
	unsigned int trap_handler; /* offset of the SIGTRAP handler that does nothing */
	unsigned int restorer;	   /* offset of its rt_sigreturn */
	unsigned int length;	   /* bytes of the image */
};
#endif
#endif
