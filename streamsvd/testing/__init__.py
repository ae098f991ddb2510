"""Shipped kits for tests: matrices of known spectrum, stores that count and stores that fail."""
