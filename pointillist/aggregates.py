"""Aggregates: which jobs one task of an operation works on."""

from pointillist.definition.aggregates import aggregator, get_aggregate_id
from pointillist.later import names_from

__all__ = ["aggregator", "get_aggregate_id"]

__getattr__ = names_from(
    __name__,
    {
        "_AggregateStore": "pointillist.definition.stores:AggregateStore",
        "_AggregateStoresCursor": "pointillist.definition.stores:AggregateStoresCursor",
        "_JobAggregateCursor": "pointillist.definition.stores:JobAggregateCursor",
    },
)
