"""What commands that factorise may be asked: the options of one record."""

from __future__ import annotations

import click

from streamsvd.cli import options
from streamsvd.factor.options import SVDOptions
from streamsvd.numerics.scalings import SCALINGS

accuracy = options.record(SVDOptions, "rank", "energy", "tol")
center = options.record(SVDOptions, "center")
transforms = options.stack_options(
    options.record(SVDOptions, "scale"),
    click.option(
        "--scaling",
        type=click.Choice(list(SCALINGS)),
        help="The same by name: std, as --scale; hwe, of counts of an allele, by sqrt(2 p (1 - p)).",
    ),
    click.option(
        "--row-weights",
        type=options.ARRAY,
        metavar="FILE.npy",
        help="One weight for each row, 0 to leave it out unseen.",
    ),
    options.column_weights,
    options.record(SVDOptions, "nonfinite"),
    options.mask,
)
method = options.stack_options(
    options.record(SVDOptions, "target", "excess_tol", "route", "max_passes", "certify"),
    options.device,
    options.record(SVDOptions, "precision"),
)
randomness = options.record(SVDOptions, "seed", "delta")
saves = options.stack_options(options.checkpoint, options.save_seconds)
