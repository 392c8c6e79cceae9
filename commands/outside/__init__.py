"""What runs outside the debugger: the ``pagezap`` console script."""
