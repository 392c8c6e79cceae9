"""How the cffi module is made; nothing here is imported at run time."""
