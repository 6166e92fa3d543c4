"""Fake schedulers for tests: the commands of Slurm, PBS and LSF over a pretend queue."""
