"""Handing tasks to a scheduler, and following what became of them."""
