"""Matrices in files of other kinds."""
