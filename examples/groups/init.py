"""Makes six jobs of two kinds."""

import signac

from pointillist import grid

project = signac.init_project()
for statepoint in grid(kind=["a", "b"], number=[1, 2, 3]):
    project.open_job(statepoint).init()
