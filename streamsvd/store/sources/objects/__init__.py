"""Matrices in memory, and objects that read them."""
