"""What several commands share: targets, hazards, states of pages, advice, checks."""
