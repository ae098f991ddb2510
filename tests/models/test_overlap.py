"""The same rows in two models, however they came there, against different rows that look alike."""

from __future__ import annotations

import shutil

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd import Model, SpecError
from streamsvd.models.overlap import refuse_shared

RNG = np.random.default_rng(0)
ROWS, MORE = RNG.standard_normal((20, 6)), RNG.standard_normal((20, 6))


def of_blocks(path, *blocks):
    model = Model.create(path, 2)
    for name, rows in blocks:
        model.update(rows, name)
    return model


def growing(path, rows):
    grown = zarr.create_array(path, shape=rows.shape, chunks=(5, 6), dtype="f8")
    grown[...] = rows
    return grown


def test_different_blocks_of_equal_content_are_told_apart_by_their_names(tmp_path):
    a = of_blocks(tmp_path / "a", ("one", np.zeros((5, 6))), ("x", ROWS))
    b = of_blocks(tmp_path / "b", ("two", np.zeros((5, 6))), ("y", MORE))
    refuse_shared(a._held, b._held)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ([("x", ROWS)], [("y", MORE), ("x", ROWS)]),
        ([("x", ROWS)], [("x", MORE)]),  # a name is a name
        ([(None, ROWS)], [("y", MORE), (None, ROWS)]),
    ],
)
def test_a_block_sent_to_both_is_found(tmp_path, left, right):
    a, b = of_blocks(tmp_path / "a", *left), of_blocks(tmp_path / "b", *right)
    with pytest.raises(SpecError, match="is in both models: its rows would count twice"):
        refuse_shared(a._held, b._held)


@pytest.mark.parametrize("more", [False, True])
def test_a_copy_is_found_also_after_it_went_its_own_way(tmp_path, more):
    a = of_blocks(tmp_path / "a", ("x", ROWS))
    a.update(growing(tmp_path / "g", np.concatenate([ROWS, MORE])))
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    b = Model.open(tmp_path / "b")
    if more:
        a.update(ROWS, "a alone")
        b.update(MORE, "b alone")
    with pytest.raises(SpecError, match="block 'x' is in both"):
        refuse_shared(a._held, b._held)


def test_rows_of_an_array_that_grows_are_found_at_their_place(tmp_path):
    first = growing(tmp_path / "g", ROWS)
    a, b = Model.create(tmp_path / "a", 2), Model.create(tmp_path / "b", 2)
    a.update(first)
    b.update(first)
    first.append(MORE)
    b.update(first)
    with pytest.raises(SpecError, match="block '@0-20' is in both"):
        refuse_shared(a._held, b._held)
    other = Model.create(tmp_path / "c", 2)
    other.update(growing(tmp_path / "h", MORE))
    refuse_shared(a._held, other._held)


def test_a_result_that_both_extend_is_found(tmp_path):
    streamsvd.svd(ROWS, 2, out=tmp_path / "r")
    streamsvd.svd(MORE, 2, out=tmp_path / "other")
    shutil.copytree(tmp_path / "r", tmp_path / "s")
    streamsvd.update(tmp_path / "s", MORE, "more")
    a, b, c = (Model.open(tmp_path / name) for name in ("r", "s", "other"))
    for one, two in ((a, a), (a, b), (b, a)):
        with pytest.raises(SpecError, match="both models extend the same result of 20 rows"):
            refuse_shared(one._held, two._held)
    refuse_shared(a._held, c._held)
