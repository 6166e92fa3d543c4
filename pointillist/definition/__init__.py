"""What the user declared: operations, conditions, labels, aggregates, directives. Reads no workspace."""
