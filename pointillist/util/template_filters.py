"""The filters of script templates, as functions."""

from pointillist.execution.submitting.filters import (
    calc_memory,
    calc_num_nodes,
    calc_tasks,
    calc_walltime,
    check_utilization,
    format_memory,
    format_timedelta,
    get_account_name,
    homogeneous_openmp_mpi_config,
    identical,
    print_warning,
    with_np_offset,
)

__all__ = [
    "calc_memory",
    "calc_num_nodes",
    "calc_tasks",
    "calc_walltime",
    "check_utilization",
    "format_memory",
    "format_timedelta",
    "get_account_name",
    "homogeneous_openmp_mpi_config",
    "identical",
    "print_warning",
    "with_np_offset",
]
