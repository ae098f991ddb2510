"""Leading eigenvectors of streams: stored matrices, and blocks that come once."""
