"""Passes over stored matrices: layout, memory, plan, and their execution as dask graphs."""
