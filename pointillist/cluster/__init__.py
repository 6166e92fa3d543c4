"""Everything between the engine and a cluster: schedulers, partitions, clusters.

Owns the conversation with a scheduler and the facts about machines. It must not know projects, operations or
tasks: it deals in requests, scripts and ids, and imports nothing from the rooms beside it.
"""
