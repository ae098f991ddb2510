"""Tables: their columns of numbers as a matrix."""
