"""Writing that is whole or not there at all, and never in what is being read."""
