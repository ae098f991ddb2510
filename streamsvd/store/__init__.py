"""Where matrices and models live: the only layer that imports zarr."""
