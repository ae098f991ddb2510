"""Shipped kits for tests: matrices of known spectrum, collections of known clusters, stores that count and stores that fail."""
