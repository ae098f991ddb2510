"""Files at URLs that are read by ranges of their bytes."""
