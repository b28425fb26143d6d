"""User presence: a gate of its own in front of sensitive reads, apart from how they are kept."""
