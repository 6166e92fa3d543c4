"""Phoenix, the cluster of the tutorial: which partition, account, quality of service and modules its jobs get.

CHANGE HERE for a cluster of your own: the name of its hosts, its partitions, and the template that goes with it
(``templates/phoenix.sh``). Importing this file is all it takes; on a host that matches, ``submit`` uses it.
"""

import argparse

from pointillist.environment import DefaultSlurmEnvironment
from pointillist.environments import PhoenixEnvironment


class Phoenix(DefaultSlurmEnvironment):
    """Phoenix at Georgia Tech (PACE), with Slurm."""

    hostname_pattern = r"(.*\.)?(login-)?phoenix[\w.-]*\.pace\.gatech\.edu$"
    template = "phoenix.sh"
    # Partitions with their cores, GPUs, memory and limits: the first that fits what the parts ask for is taken.
    cluster = PhoenixEnvironment.cluster

    @classmethod
    def add_args(cls, parser: argparse.ArgumentParser) -> None:
        """Add what Phoenix wants to know."""
        super().add_args(parser)
        group = parser.add_argument_group("Phoenix")
        group.add_argument("--account", help="the account that pays")
        group.add_argument("--qos", default="inferno", help="inferno (charged) or embers (free, at most 8 hours)")
        group.add_argument("--conda", default="plmnist", help="the conda environment of the study")
