"""What signac-flow keeps in modules of these names."""
