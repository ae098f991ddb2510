"""Benchmarks: one module per question, in the manner of asv, and the data and peers they use."""
