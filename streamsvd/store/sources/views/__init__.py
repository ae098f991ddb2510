"""Sources that show others: rows, columns, or values of them, otherwise than they are stored."""
