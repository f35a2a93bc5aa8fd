"""Store, planner and worker loop in one thread under a virtual clock, with faults drawn from a seed."""
