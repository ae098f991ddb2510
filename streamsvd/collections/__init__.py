"""Collections of matrices: which may share a basis, stored so, and read again one by one."""
