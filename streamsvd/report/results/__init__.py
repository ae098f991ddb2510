"""Pages of results, a module for each family of verbs."""
