"""Makes the first job; the study makes the others."""

import signac

project = signac.init_project()
project.open_job({"low": 0.0, "high": 2.0}).init()
