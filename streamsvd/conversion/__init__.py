"""A matrix written again in the layout that is read fastest, and what one read says of its entries."""
