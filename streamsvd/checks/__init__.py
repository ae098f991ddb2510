"""What a user hands over: numbers, paths, masks and arrays, checked before anything is read."""
