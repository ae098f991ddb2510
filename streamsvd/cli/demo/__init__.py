"""``streamsvd demo``: the main job on real data, then at size, with the truth beside it."""

from streamsvd.cli.demo.verb import command

__all__ = ["command"]
