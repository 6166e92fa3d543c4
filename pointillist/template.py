"""Files to begin a study with, under the name that signac-flow gives this module."""

from pointillist.cli.init import init
from pointillist.cli.starters import STARTERS as TEMPLATES

__all__ = ["TEMPLATES", "init"]
