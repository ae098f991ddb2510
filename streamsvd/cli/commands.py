"""The commands, by family: each is imported when it is used, so that ``--help`` is instant."""

from __future__ import annotations

from importlib import import_module

import click

from streamsvd import __version__

HEADINGS = {
    "Look": ("info", "plan", "report", "plot", "demo"),
    "Convert": ("convert", "transpose"),
    "Factorise": ("svd", "pca", "rotate", "project", "reconstruct"),
    "Cells": ("cells",),
    "Keep true": ("update", "watch", "log", "verify", "repair", "rollback", "merge", "export"),
    "Streams": ("top", "shuffle"),
    "Kernels": ("nystrom", "krr"),
    "Rows": ("sample", "lstsq"),
    "Graphs": ("embed", "eigenvectors"),
    "Collections": ("cluster", "compress", "rates", "decompress"),
    "Pipelines": ("run", "serve", "runs", "check", "publish"),
}
"""Verbs, in the order in which a user meets them, by family."""
VERBS = tuple(verb for verbs in HEADINGS.values() for verb in verbs)


class VerbGroup(click.Group):
    """A group whose commands are imported by name."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All verbs, in the order in which a user meets them."""
        return list(VERBS)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Verbs under the heading of their family."""
        for heading, names in HEADINGS.items():
            found = [(name, self.get_command(ctx, name)) for name in names]
            with formatter.section(heading):
                formatter.write_dl(
                    [(name, "" if c is None else c.get_short_help_str(80)) for name, c in found]
                )

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The ``command`` of the verb's module."""
        if cmd_name not in VERBS:
            return None
        found = import_module(f"streamsvd.cli.{cmd_name}").command
        assert isinstance(found, click.Command)
        return found


@click.group(cls=VerbGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="streamsvd")
def verbs() -> None:
    """Certified SVD and PCA of matrices larger than memory.

    Results go to stdout, progress and errors to stderr. Exit codes: 0 done, 1 failed, 2 wrong usage,
    3 not converged (the partial result is kept), 4 a check of a pipeline did not pass (what was published
    stays), 130 interrupted.
    """
