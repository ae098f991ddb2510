"""``python -m streamsvd``: the command line where no script is installed."""

from streamsvd.cli import main

main()
