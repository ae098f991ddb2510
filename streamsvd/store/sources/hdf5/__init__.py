"""Arrays in files of HDF5, and so of netCDF-4."""
