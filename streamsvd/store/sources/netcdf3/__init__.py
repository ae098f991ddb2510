"""Arrays in files of netCDF-3."""
