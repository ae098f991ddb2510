"""What is printed of a result is a line, whatever it holds."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.labels import Labels

A = np.random.default_rng(0).standard_normal((300, 6)) @ np.diag([9, 5, 3, 1, 1, 1])
PARTS = {f"p{i}": A[:, i : i + 2] for i in range(3)}
MADE = {
    "svd": lambda folder: streamsvd.svd(A, 2),
    "pca": lambda folder: streamsvd.pca(A, 2),
    "lstsq": lambda folder: streamsvd.lstsq(A, A[:, 0]),
    "sample_rows": lambda folder: streamsvd.sample_rows(A, 50),
    "nystrom": lambda folder: streamsvd.nystrom(A, n_centres=9, length=9.0),
    "kernel_ridge": lambda folder: streamsvd.kernel_ridge(A, A[:, 0], n_centres=9, length=9.0),
    "top": lambda folder: streamsvd.top_eigenvectors(A, 1),
    "cluster": lambda folder: streamsvd.cluster(PARTS, 0.3),
    "rate_curve": lambda folder: streamsvd.rate_curve(PARTS, [0.1, 0.3]),
    "update": lambda folder: streamsvd.update(folder / "m", A, rank=2),
    "model": lambda folder: (streamsvd.update(folder / "m", A, rank=2), streamsvd.Model.open(folder / "m"))[1],
    "verify": lambda folder: streamsvd.verify(streamsvd.svd(A, 2).save(folder / "r"), A),
    "labels": lambda folder: Labels.plain((3, 4)),
    "rotate": lambda folder: streamsvd.rotate(streamsvd.pca(A, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", MADE)
def test_what_is_printed_is_a_line(name, tmp_path):
    text = repr(MADE[name](tmp_path))
    assert "\n" not in text
    assert text.startswith("<")
    assert len(text) < 240 + len(str(tmp_path))


def test_a_matrix_is_a_line_for_which_nothing_is_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((4, 3, 2)))
    source = streamsvd.open(tmp_path / "a.npy", rows=0)
    assert repr(source) == (
        f"<NpySource {tmp_path}/a.npy: 4 x 6 float64, 192 B; rows row (4); columns dim_1 (3) x dim_2 (2)>"
    )
    assert repr(streamsvd.anomalies(A, by=np.arange(300) % 2)) == (
        "<AdjustedRows ndarray: 300 x 6 float64, 14.1 KiB>"
    )
