"""Passing a study on: archives, their metadata, and results made once more."""
