"""Aggregates: which jobs one task of an operation works on."""

from pointillist.definition.aggregates import aggregator, get_aggregate_id

__all__ = ["aggregator", "get_aggregate_id"]
