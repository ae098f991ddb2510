"""Tall matrices: rows that stand for all, and least squares."""
