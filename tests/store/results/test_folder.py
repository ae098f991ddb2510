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
from streamsvd.store.results.reader import checksum, digest, is_result, read_lazy_array, read_result
from streamsvd.store.results.saving import Result
from streamsvd.store.results.writer import ResultWriter

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
    rewrite(place, {"format": 4})
    with pytest.raises(StoreError, match=r"has format 4, this version reads up to 3. Upgrade"):
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
        {"rank": 1e300}, {"gradients": [["x"]]}, {"stranger": 1}, {"options": []}, {"digests": None}, {"digests": []},
        {"digests": {}}, {"digests": {"x": 5}}, {"digests": {"x": "0"}},
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
    rewrite(place, {"digests": {"x": digest(file.read_bytes())}})
    with pytest.raises(
        StoreError, match=r"'x'.*damaged: metadata promise 8,000,000,000,000,000 bytes"
    ):
        streamsvd.load(place)


def as_before_digests(place: Path) -> None:
    """Make it one of the format that did not keep what the metadata of arrays were."""
    file = place / "zarr.json"
    metadata = json.loads(file.read_text())
    record = metadata["attributes"]["streamsvd"]
    del record["digests"]
    record["format"] = 2
    record["checksum"] = checksum(record)
    file.write_text(json.dumps(metadata))


def test_a_result_of_the_format_before_digests_is_read_and_replaced(place, tmp_path):
    first = streamsvd.load(place)
    as_before_digests(place)
    again = streamsvd.load(place)
    assert again.x.tobytes() == first.x.tobytes()
    assert json.loads((place / "zarr.json").read_text())["attributes"]["streamsvd"]["format"] == 2
    first.save(place, overwrite=True)
    assert json.loads((place / "zarr.json").read_text())["attributes"]["streamsvd"]["format"] == 3


def test_an_array_alone_is_held_against_the_record(place):
    x = streamsvd.load(place).x
    assert np.asarray(read_lazy_array(place, "x")).tobytes() == x.tobytes()
    file = place / "x" / "zarr.json"
    file.write_bytes(file.read_bytes().replace(b'"little"', b'"big"'))
    with pytest.raises(StoreError, match="fit is damaged: x/zarr.json"):
        read_lazy_array(place, "x")
    rewrite(place, {"rank": 5}, sealed=False)
    with pytest.raises(StoreError, match=r"fit is damaged: what zarr.json says"):
        read_lazy_array(place, "x")


@pytest.mark.parametrize("sub", ["", "x", "x/c"])
@pytest.mark.parametrize("folder", [False, True])
def test_what_is_no_part_of_a_result_is_not_removed_with_it(place, sub, folder):
    found, mine = streamsvd.load(place), place / sub / "notes.txt"
    if folder:
        mine.mkdir()
        mine = mine / "deeper"
    mine.write_text("mine")
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    named = "x" if sub else "notes.txt"
    with pytest.raises(
        StoreError,
        match=rf"fit holds {named}, which is no part of a result; it will not be replaced. Move it",
    ):
        found.save(place, overwrite=True)
    with pytest.raises(StoreError, match=f"fit holds {named}, which is no part"):
        streamsvd.svd(np.eye(9, 4), 2, out=place, overwrite=True)
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before
    assert [p.name for p in place.parent.iterdir()] == ["fit"]
    mine.unlink()
    if folder:
        mine.parent.rmdir()
    found.save(place, overwrite=True)
    assert streamsvd.load(place).x.tobytes() == found.x.tobytes()


def test_many_strangers_are_counted_and_arrays_of_others_are_strangers(place):
    found = streamsvd.load(place)
    zarr.create_array(str(place / "a"), data=np.ones(3))
    with pytest.raises(StoreError, match="fit holds a, which is"):
        found.save(place, overwrite=True)
    for name in "bcde":
        (place / name).touch()
    with pytest.raises(StoreError, match="fit holds a, b, c and 2 more, which are no part .* them"):
        found.save(place, overwrite=True)


def test_what_came_while_a_result_was_made_is_not_removed(place):
    found = streamsvd.load(place)
    writer = ResultWriter(place, overwrite=True)
    (place / "notes.txt").write_text("mine")
    with pytest.raises(StoreError, match="fit holds notes.txt"):
        writer.commit(found)
    assert (place / "notes.txt").read_text() == "mine"
    assert [p.name for p in place.parent.iterdir()] == ["fit"]


@pytest.mark.parametrize("name", ["svd", "pca"])
def test_a_factorisation_of_an_earlier_release_is_replaced_if_it_is_alone(name, tmp_path):
    place = Path(shutil.copytree(EARLIER / name, tmp_path / name))
    found = streamsvd.lstsq(np.eye(5, 2), np.ones(5))
    (place / "notes.txt").touch()
    with pytest.raises(StoreError, match="holds notes.txt"):
        found.save(place, overwrite=True)
    (place / "notes.txt").unlink()
    found.save(place, overwrite=True)
    assert streamsvd.load(place).x.tobytes() == found.x.tobytes()


def test_a_link_to_a_result_is_replaced_and_what_it_leads_to_is_left(place, tmp_path):
    found = streamsvd.load(place)
    (place / "notes.txt").write_text("mine")
    (tmp_path / "link").symlink_to(place)
    found.save(tmp_path / "link", overwrite=True)
    assert not (tmp_path / "link").is_symlink()
    assert (place / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("inner", ["inner", "x", "deep/inner"])
def test_nothing_is_saved_within_a_result(place, tmp_path, inner, monkeypatch):
    found = streamsvd.load(place)
    before = {p: p.read_bytes() for p in place.rglob("*") if p.is_file()}
    monkeypatch.chdir(place)
    (tmp_path / "link").symlink_to(place)
    for where in (place / inner, Path(inner), tmp_path / "link" / inner):
        with pytest.raises(StoreError, match=r"lies in .*fit, which is a result|x exists already"):
            found.save(where)
        with pytest.raises(StoreError, match=r"lies in .*fit, which is a result|x exists already"):
            streamsvd.svd(np.eye(9, 4), 2, out=where)
    assert {p: p.read_bytes() for p in place.rglob("*") if p.is_file()} == before


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
    bases = {f"streamsvd.store.results.saving:{name}" for name in ("Result", "LabelledResult")}
    assert homes - bases == set(RESULT_HOMES.values())


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
