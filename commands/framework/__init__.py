"""How a command is declared, parsed, completed, documented and run."""
