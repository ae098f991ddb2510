"""A factorisation that absorbs blocks of rows, and what it has lost: pure."""
