"""Values of the signac configuration that are about workflows."""

from pointillist.execution.submitting.filters import get_config_value

__all__ = ["get_config_value"]
