"""Pipelines: files that say what is to be computed, checked and published, and runs of them that can be repeated."""
