/* The agent's image, carried in the helper. */
	.section .rodata
	.globl	pz_agent_image
	.hidden	pz_agent_image
	.globl	pz_agent_image_end
	.hidden	pz_agent_image_end
	.balign	16
pz_agent_image:
	.incbin	PZ_AGENT_BIN
pz_agent_image_end:
	.section .note.GNU-stack, "", @progbits
