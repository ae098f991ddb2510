from __future__ import annotations

import pytest

from streamsvd.cli.wording import in_options


@pytest.mark.parametrize(
    ("python", "shell"),
    [
        ("Pass rank=, energy= or tol=.", "Pass --rank, --energy or --tol."),
        ("works is memory=46140432.", "works is --memory 46140432."),
        ("Pass overwrite=True (--overwrite) to", "Pass --overwrite to"),
        ("pass center=False here", "pass --no-center here"),
        ("rows=('time', 1) must", "--rows time,1 must"),
        ("row_weights has shape", "--row-weights has shape"),
        ('Pass nonfinite="zero", "mean" or', "Pass --nonfinite zero, mean or"),
        ("tol=1e-05 is", "--tol 1e-05 is"),
        ("Pass 1 <= rank <= 60.", "Pass 1 <= rank <= 60."),
        ("no 'x=1' of mine", "no 'x=1' of mine"),
        ("trouble.. Write again", "trouble. Write again"),
    ],
)
def test_arguments_become_options(python: str, shell: str) -> None:
    assert in_options(python) == shell
