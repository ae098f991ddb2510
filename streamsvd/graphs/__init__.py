"""Graphs as sparse matrices: embeddings of their nodes, and leading eigenvectors of their normalised adjacency."""
