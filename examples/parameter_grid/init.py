"""Makes a job for every combination of the parameters; run again after a change, it makes the new ones only."""

import signac

from pointillist import FlowProject, grid, make_jobs

signac.init_project()
counts = make_jobs(FlowProject(), grid(pressure=[0.5, 1.0, 2.0], temperature=[250, 300], particles=[100, 1000]))
print(f"{counts.new} jobs made, {counts.existing} were there already")
