"""A process that runs pipelines at their times: which files it serves, the runs it starts, and the pages it shows."""
