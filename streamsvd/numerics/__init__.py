"""Pure functions of in-memory arrays, of any array-API namespace."""
