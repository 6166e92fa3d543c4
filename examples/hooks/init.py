"""Makes three jobs, one of which fails."""

import signac

project = signac.init_project()
for divisor in [0, 1, 2]:
    project.open_job({"divisor": divisor}).init()
