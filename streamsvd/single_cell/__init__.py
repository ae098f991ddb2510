"""Counts of cells: their sums, the genes that vary most, and principal components of these."""
