"""Labels that are methods of a project class."""

from pointillist.definition.labels import classlabel, label, staticlabel

__all__ = ["classlabel", "label", "staticlabel"]
