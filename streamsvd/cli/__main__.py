"""``python -m streamsvd.cli``: the command line where no script is installed."""

from streamsvd.cli.app import main

main()
