"""Makes the jobs of random walks: for each step length some replicas, which differ by their seed only."""

import signac

from pointillist import grid

project = signac.init_project()
for statepoint in grid(step=[0.5, 1.0, 2.0], replica=[0, 1, 2, 3], num_steps=400):
    project.open_job(statepoint).init()
