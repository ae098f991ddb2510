"""The command line: one file per verb, each imported when it is called."""

from streamsvd.cli.app import main

__all__ = ["main"]
