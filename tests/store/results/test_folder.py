"""A result's folder is held against what it says, what is there, and what this release knows."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

import streamsvd
from streamsvd.errors import StoreError
from streamsvd.store.results import reader
from streamsvd.store.results.kinds import (
    COLLECTION_HOME,
    FILE_HOMES,
    MODEL_HOME,
    RESULT_HOMES,
    STREAM_HOME,
    from_home,
    kind_of,
)
from streamsvd.store.results.reader import checksum, is_result, read_result
from streamsvd.store.results.saving import Result

EARLIER = Path(__file__).parent / "earlier"


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    A = np.random.default_rng(0).standard_normal((200, 6))
    place = tmp_path_factory.mktemp("results") / "fit"
    streamsvd.lstsq(A, A @ np.arange(6.0), ridge=0.5).save(place)
    return place


@pytest.fixture
def place(saved, tmp_path):
    return Path(shutil.copytree(saved, tmp_path / "fit"))


def rewrite(place: Path, change: dict[str, Any], *, sealed: bool = True) -> None:
    """Change what the record says, and its checksum with it."""
    file = place / "zarr.json"
    metadata = json.loads(file.read_text())
    record = metadata["attributes"]["streamsvd"]
    record |= change
    if sealed:
        record["checksum"] = checksum(record)
    file.write_text(json.dumps(metadata))


def test_a_record_that_was_altered_is_told(place):
    rewrite(place, {"rank": 5}, sealed=False)
    with pytest.raises(StoreError, match=r"fit is damaged: what zarr.json says is not what was"):
        streamsvd.load(place)


def test_a_newer_format_is_refused(place):
    rewrite(place, {"format": 3})
    with pytest.raises(StoreError, match=r"has format 3, this version reads up to 2. Upgrade"):
        streamsvd.load(place)


def test_an_unknown_kind_is_refused_with_those_that_are_known(place):
    rewrite(place, {"kind": "tensor"})
    with pytest.raises(
        StoreError, match=r"kind 'tensor', which this release does not know. It knows svd, pca"
    ):
        streamsvd.load(place)


def test_a_kind_names_no_module(place):
    rewrite(place, {"kind": "os:system"})
    with pytest.raises(StoreError, match="'os:system', which this release does not know"):
        streamsvd.load(place)


def test_an_unknown_option_is_refused_with_those_that_are_known(place):
    options = json.loads((place / "zarr.json").read_text())["attributes"]["streamsvd"]["options"]
    rewrite(place, {"options": options | {"toll": 1}})
    with pytest.raises(
        StoreError, match=r"has the option toll, which LeastSquaresOptions .*method, ridge"
    ):
        streamsvd.load(place)


def test_an_option_that_cannot_be_meant_is_refused(place):
    options = json.loads((place / "zarr.json").read_text())["attributes"]["streamsvd"]["options"]
    rewrite(place, {"options": options | {"tol": 7.0}})
    with pytest.raises(StoreError, match=r"fit cannot be read: tol=7.0 is out of range"):
        streamsvd.load(place)


@pytest.mark.parametrize(
    "change",
    [
        {"format": "two"}, {"format": None}, {"format": 0}, {"kind": None}, {"kind": {}}, {"info": None}, {"info": {}},
        {"x": None}, {"x": {"array": "/etc/passwd"}}, {"x": {"array": "../fit/x"}}, {"x": {"array": "residual_norm"}},
        {"rank": 1e300}, {"gradients": [["x"]]}, {"stranger": 1}, {"options": []},
    ],
)  # fmt: skip
def test_a_hostile_record_is_refused_in_words(place, change):
    rewrite(place, change)
    with pytest.raises(StoreError, match="fit"):
        streamsvd.load(place)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", "null", '{"attributes": 5}', '{"attributes": {"streamsvd": []}}', "[" * 5000]
)  # fmt: skip
def test_what_is_no_record_is_no_result(place, text):
    (place / "zarr.json").write_text(text)
    assert not is_result(place)
    with pytest.raises(StoreError, match="fit is not a result of streamsvd"):
        streamsvd.load(place)


def test_a_record_is_read_up_to_a_size(place, monkeypatch):
    monkeypatch.setattr(reader, "MOST_RECORD", 100)
    with pytest.raises(StoreError, match="has more than 100 bytes"):
        streamsvd.load(place)


def test_an_array_that_promises_more_than_is_there_allocates_nothing(place):
    file = place / "x" / "zarr.json"
    metadata = json.loads(file.read_text())
    metadata["shape"] = [10**15]
    metadata["chunk_grid"]["configuration"]["chunk_shape"] = [10**15]
    file.write_text(json.dumps(metadata))
    with pytest.raises(
        StoreError, match=r"'x'.*damaged: metadata promise 8,000,000,000,000,000 bytes"
    ):
        streamsvd.load(place)


def test_a_folder_is_of_the_kind_that_is_wanted(place):
    with pytest.raises(StoreError, match="holds a result of lstsq, not of svd or pca"):
        read_result(place, "svd", "pca")


def test_a_result_that_is_no_factorisation_makes_no_model(place):
    with pytest.raises(StoreError, match="holds a result of lstsq, not of svd or pca"):
        streamsvd.Model.open(place)


def test_every_result_has_a_kind_and_every_kind_a_result():
    for kind, home in RESULT_HOMES.items():
        found = from_home(home)
        assert issubclass(found, Result), kind
        assert f"{found.__module__}:{found.__qualname__}" == home

    def below(cls: type) -> set[type]:
        return {cls}.union(*(below(each) for each in cls.__subclasses__()))

    homes = {
        f"{c.__module__}:{c.__qualname__}"
        for c in below(Result)
        if c.__module__.startswith("streamsvd.")
    }
    assert homes - {"streamsvd.store.results.saving:Result"} == set(RESULT_HOMES.values())


@pytest.mark.parametrize("home", [MODEL_HOME, COLLECTION_HOME, STREAM_HOME, *FILE_HOMES.values()])
def test_whatever_else_is_loaded_stands_where_it_is_said_to(home):
    assert callable(from_home(home))


def test_a_class_without_a_kind_is_told_apart():
    with pytest.raises(TypeError, match=r"Result has no line in streamsvd.store.results.kinds"):
        kind_of(Result())


def test_a_factorisation_of_an_earlier_release_is_read():
    found = streamsvd.load(EARLIER / "svd")
    group = zarr.open_group(str(EARLIER / "svd"), mode="r")
    for name in ("s", "Vh", "U", "mean"):
        part = getattr(found, name)
        assert (
            part is None
            if name not in group
            else np.array_equal(part, group[name][...], equal_nan=True)
        )
    raw = group.attrs["streamsvd"]
    assert raw["format"] == 1
    assert found.info.status is streamsvd.Status.CONVERGED
    assert found.info.widths == tuple(raw["info"]["widths"])
    assert found.certificate.sigma_upper.tolist() == raw["certificate"]["sigma_upper"]
    assert found.preparation["nonfinite"] == "mean"
    assert np.array_equal(found.preparation["row_weights"], group["row_weights"][...])
    assert found.preparation["columns"].tolist() == [1, 1, 1, 1, 1, 2]


def test_principal_components_of_an_earlier_release_are_a_factorisation(tmp_path):
    found = streamsvd.load(EARLIER / "pca")
    assert found.preparation["center"] is True
    again = streamsvd.load(found.save(tmp_path / "anew"))
    assert type(again) is streamsvd.SVD
    assert again.Vh.tobytes() == found.Vh.tobytes()
    assert again.info == found.info


@pytest.mark.parametrize("name", ["svd", "pca"])
def test_a_result_stored_without_its_freedom_has_it_from_the_weights(name, tmp_path):
    place = Path(shutil.copytree(EARLIER / name, tmp_path / name))
    freedom = streamsvd.load(place).info.freedom
    metadata = json.loads((place / "zarr.json").read_text())
    del metadata["attributes"]["streamsvd"]["info"]["freedom"]
    (place / "zarr.json").write_text(json.dumps(metadata))
    assert streamsvd.load(place).info.freedom == pytest.approx(freedom, rel=1e-12)


def test_a_damaged_factorisation_of_an_earlier_release_is_told(tmp_path):
    place = Path(shutil.copytree(EARLIER / "svd", tmp_path / "svd"))
    (place / "Vh" / "c" / "0" / "0").unlink()
    with pytest.raises(StoreError, match="svd lacks 1 of the 1 chunks of Vh"):
        streamsvd.load(place)
    shutil.rmtree(place / "Vh")
    with pytest.raises(StoreError, match="svd lacks its factors"):
        streamsvd.load(place)
