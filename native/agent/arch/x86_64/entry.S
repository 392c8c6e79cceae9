/*
 * Entry of the agent. The debugger puts a thread on offset 0 with the registers
 * of clone(2) and steps exactly one instruction; everything after it is run by
 * the new tasks alone. r12: mailbox, r13: top of the agent's stack.
 */
#include "pagezap/mailbox.h"

	.section .text.entry, "ax"
	.globl	pz_agent_entry
pz_agent_entry:
	syscall			/* clone of the intermediate */
	jmp	intermediate

	.balign	PZ_AGENT_TABLE	/* the table */
	.long	PZ_AGENT_MAGIC
	.long	trap_handler - pz_agent_entry
	.long	restorer - pz_agent_entry
	.long	pz_agent_end - pz_agent_entry

intermediate:
	mov	%r13, %rsi
	mov	$56, %eax	/* clone, the other arguments as they are */
	syscall
	test	%rax, %rax
	jz	agent
	mov	$60, %eax	/* exit */
	xor	%edi, %edi
	syscall
	hlt
agent:
	mov	%r12, %rdi
	xor	%ebp, %ebp
	and	$-16, %rsp
	call	pz_agent_main
	hlt

trap_handler:
	ret
restorer:
	mov	$15, %eax	/* rt_sigreturn */
	syscall
	hlt

	.section .note.GNU-stack, "", @progbits
