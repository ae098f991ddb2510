"""Arrays in stores of zarr."""
