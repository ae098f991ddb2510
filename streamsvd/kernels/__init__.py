"""Verbs of kernels: a dictionary of rows with a feature map, and ridge regression on it."""
