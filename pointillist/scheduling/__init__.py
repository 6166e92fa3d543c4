"""Schedulers, under the names that signac-flow gives these modules."""
