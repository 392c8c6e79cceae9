"""Sessions: setting pagezap up in an inferior, its watches, and its hits."""
