from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

import streamsvd
from streamsvd.errors import BudgetError, SpecError, StoreError
from streamsvd.factor.exports import frames
from streamsvd.labels import Coordinate
from tests.factor.exports.conftest import grid_labels

GENES = Coordinate.of("gene", ["gene"], [f"g{j}" for j in range(6)])
DAYS = Coordinate.of("time", ["time"], np.arange(20), {"units": "days since 2001-01-31"})
TABLE = grid_labels({"time": 20}, {"gene": 6}, GENES, DAYS)


def test_a_table_has_the_names_of_the_columns(labelled) -> None:
    found = labelled(TABLE, mask=np.arange(6) != 2)
    table = found.to_dataframe()
    assert list(table.index) == list(GENES.array)
    assert table.index.name == "gene"
    assert list(table.columns) == ["PC1", "PC2", "PC3"]
    np.testing.assert_array_equal(table.to_numpy(), found.Vh.T)
    assert table.loc["g2"].isna().all()


def test_scores_have_the_times_of_the_rows(labelled) -> None:
    found = labelled(TABLE)
    table = found.to_dataframe("scores")
    assert isinstance(table.index, pd.DatetimeIndex)
    assert table.index[1] == pd.Timestamp("2001-02-01")
    np.testing.assert_array_equal(table.to_numpy(), found.U * found.s)


def test_several_dimensions_are_a_multiindex(labelled) -> None:
    lat = Coordinate.of("lat", ["lat"], [-30.0, 30.0])
    found = labelled(grid_labels({"time": 20}, {"lat": 2, "lon": 3}, lat))
    table = found.to_dataframe()
    assert table.index.names == ["lat", "lon"]
    np.testing.assert_array_equal(table.loc[(30.0, 2)], found.Vh[:, 5])


def test_variances_have_their_ends(labelled) -> None:
    found = labelled(TABLE)
    table = found.to_dataframe("variance")
    assert list(table.index) == ["PC1", "PC2", "PC3"]
    np.testing.assert_array_equal(table.explained_variance, found.explained_variance)
    np.testing.assert_allclose(table.explained_variance_ratio, found.explained_variance_ratio)
    np.testing.assert_array_equal(table.singular_values_lower, found.certificate.sigma_lower)


@pytest.mark.parametrize(
    ("attributes", "dates"),
    [
        ({"units": "hours since 1970-01-01 06:00", "calendar": "gregorian"}, True),
        ({"units": "days since 1200-01-01", "calendar": "standard"}, False),
        ({"units": "days since 1200-01-01", "calendar": "proleptic_gregorian"}, True),
        ({"units": "days since 2000-01-01", "calendar": "360_day"}, False),
        ({"units": "hPa"}, False),
    ],
)
def test_times_are_dates_where_pandas_has_their_calendar(labelled, attributes, dates) -> None:
    time = Coordinate.of("time", ["time"], np.arange(20), attributes)
    index = labelled(replace(TABLE, coordinates=(time,))).to_dataframe("scores").index
    assert isinstance(index, pd.DatetimeIndex) is dates
    if not dates:
        np.testing.assert_array_equal(index, np.arange(20))


def test_scores_on_disk_that_exceed_the_memory_are_refused(labelled, tmp_path, monkeypatch) -> None:
    found = labelled(TABLE, out=tmp_path / "out")
    assert found.to_dataframe("scores").shape == (20, 3)
    monkeypatch.setattr(frames, "allowed_bytes", lambda memory: 900)
    with pytest.raises(
        BudgetError, match=r"needs 960 bytes, the budget allows 900\. Use to_xarray\(\)"
    ):
        found.to_dataframe("scores")


def test_what_is_no_table_is_refused(labelled) -> None:
    with pytest.raises(
        SpecError, match=r"what='loadings' is unknown\. Pass one of components, scores"
    ):
        labelled(TABLE).to_dataframe("loadings")
    with pytest.raises(SpecError, match="has no U"):
        labelled(TABLE, u=False).to_dataframe("scores")


def test_the_line_that_installs_pandas_is_told(monkeypatch) -> None:
    found = streamsvd.pca(np.eye(4), 1)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(StoreError, match=r"pip install 'streamsvd\[pandas\]'"):
        found.to_dataframe()
