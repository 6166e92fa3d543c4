"""Makes three jobs, one for each name."""

import signac

project = signac.init_project()
for name in ["Ada", "Grace", "Katherine"]:
    project.open_job({"name": name}).init()
