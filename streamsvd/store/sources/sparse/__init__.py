"""Sparse matrices as they are stored: one that is compressed along rows or columns, of whatever kind its three arrays are."""
