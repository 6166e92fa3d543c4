"""Running tasks on this machine: the loop, and what belongs to a run."""
