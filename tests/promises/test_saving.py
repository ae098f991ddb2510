"""What a verb hands back can be saved and is the same again; what is saved is there whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import CorruptChunkError, SpecError, StoreError
from streamsvd.store.results import writer
from streamsvd.store.results.kinds import RESULT_HOMES, kind_of
from streamsvd.store.results.values import is_array

RNG = np.random.default_rng(7)
A = RNG.standard_normal((300, 8)) * np.arange(8.0, 0.0, -1.0)
MASK = np.array([True] * 7 + [False])
BLOCKS = {
    f"layer.{i}/{name}": (A[:40, :3] @ RNG.standard_normal((3, 12))).astype(kind)
    for i in range(2)
    for name, kind in (("query", "float32"), ("key", "float64"))
} | {"noise": RNG.standard_normal((40, 39))}
RNG_COUNTS = RNG.poisson(RNG.gamma(2.0, 1.0, 60) * np.exp(RNG.standard_normal((200, 1))))
WITH_NAN = np.where(RNG.random(A.shape) < 0.01, np.nan, A)


def verification() -> Any:
    """Of a result that is stored for as long as that takes."""
    with tempfile.TemporaryDirectory() as folder:
        return streamsvd.verify(streamsvd.svd(A, 3).save(Path(folder) / "svd"), A)


GRAPH = np.abs(A[:40] @ A[:40].T)

MAKERS: dict[str, list[Callable[[], Any]]] = {
    "svd": [
        lambda: streamsvd.svd(A, 3, u=True),
        lambda: streamsvd.svd(
            WITH_NAN, 2, nonfinite="mean", mask=MASK, row_weights=np.arange(1.0, 301.0), center=True, scale=True
        ),
        lambda: streamsvd.svd(A + 1j * A[::-1], 2, u=True),
        lambda: streamsvd.svd(A.astype("float32"), energy=0.9),
    ],
    "pca": [lambda: streamsvd.pca(A, 3), lambda: streamsvd.pca(np.ones((30, 3)), 1)],
    "cells": [
        lambda: streamsvd.cells(RNG_COUNTS, genes=20, rank=3, flavor="seurat"),
        lambda: streamsvd.cells(RNG_COUNTS, genes=20, rank=3, span=0.9),
    ],
    "rotate": [
        lambda: streamsvd.rotate(streamsvd.pca(A, 3, u=True)),
        lambda: streamsvd.rotate(streamsvd.svd(A + 1j * A[::-1], 3, mask=MASK), 2, "promax"),
    ],
    "lstsq": [
        lambda: streamsvd.lstsq(A, A @ np.arange(8.0), mask=MASK),
        lambda: streamsvd.lstsq(A, A[:, :2], method="precondition", ridge=0.1, seed=3),
    ],
    "nystrom": [
        lambda: streamsvd.nystrom(A, n_centres=10, mask=MASK),
        lambda: streamsvd.nystrom(A, "polynomial", n_centres=5, certify=False, mode="squeak", scale=True),
    ],
    "kernel_ridge": [
        lambda: streamsvd.kernel_ridge(A, A[:, 0], n_centres=8),
        lambda: streamsvd.kernel_ridge(A, A[:, :2], n_centres=8, solver="pcg", ridge=0.1, mask=MASK),
    ],
    "top_eigenvectors": [
        lambda: streamsvd.top_eigenvectors(A, 2, seed=4),
        lambda: streamsvd.top_eigenvectors(iter([A[:150], A[150:]]), 1, n_rows=300, mask=MASK),
    ],
    "embed": [
        lambda: streamsvd.embed(GRAPH, 6, seed=2),
        lambda: streamsvd.embed(GRAPH, 4, step_weights=(0, 1), step="adjacency", normalize=True, precision="double"),
    ],
    "eigenvectors": [lambda: streamsvd.graph_eigenvectors(GRAPH, 3)],
    "cluster": [lambda: streamsvd.cluster(BLOCKS, 0.1), lambda: streamsvd.cluster(BLOCKS, 0.01, mode="block")],
    "rate_curve": [lambda: streamsvd.rate_curve(BLOCKS, [0.1, 0.3])],
    "verify": [lambda: verification()],
    "sample_rows": [
        lambda: streamsvd.sample_rows(A, 20, seed=5),
        lambda: streamsvd.sample_rows(A, method="online", oversampling=4.0, mask=MASK),
    ],
}  # fmt: skip
CASES = [(kind, i) for kind, makers in MAKERS.items() for i in range(len(makers))]
FOUND: dict[tuple[str, int], Any] = {}


def made(kind: str, i: int = 0) -> Any:
    """A result, made once."""
    if (kind, i) not in FOUND:
        FOUND[kind, i] = MAKERS[kind][i]()
    return FOUND[kind, i]


def assert_same(one: Any, other: Any, name: str = "it") -> None:
    """The same types, values and bits, all the way down."""
    if is_array(one):
        one, other = np.asarray(one), np.asarray(other)
        assert (one.dtype, one.shape) == (other.dtype, other.shape), name
        assert one.tobytes() == other.tobytes(), name
        return
    assert type(one) is type(other), f"{name}: {type(one)} and {type(other)}"
    if is_dataclass(one):
        for f in fields(one):
            assert_same(getattr(one, f.name), getattr(other, f.name), f"{name}.{f.name}")
    elif isinstance(one, dict):
        assert list(one) == list(other), name
        for key in one:
            assert_same(one[key], other[key], f"{name}[{key!r}]")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), name
        for i, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{name}[{i}]")
    else:
        assert one == other or (one != one and other != other), f"{name}: {one} and {other}"


def test_every_kind_is_tried():
    assert set(MAKERS) == set(RESULT_HOMES)


@pytest.mark.parametrize(("kind", "i"), CASES)
def test_what_was_saved_is_the_same_again(kind, i, tmp_path):
    found = made(kind, i)
    assert kind_of(found) == kind
    assert found.save(tmp_path / "kept") == tmp_path / "kept"
    again = streamsvd.load(tmp_path / "kept")
    assert_same(found, again)
    assert_same(found, streamsvd.load(again.save(tmp_path / "copy")))
    assert {p.name for p in tmp_path.iterdir()} == {"kept", "copy"}


@pytest.mark.parametrize("kind", MAKERS)
def test_what_is_there_is_replaced_if_that_is_wanted_and_it_is_a_result(kind, tmp_path):
    place = tmp_path / "kept"
    found = made(kind)
    made("lstsq").save(place)
    with pytest.raises(StoreError, match=r"kept exists already. Pass overwrite=True"):
        found.save(place)
    assert_same(made("lstsq"), streamsvd.load(place))
    found.save(place, overwrite=True)
    assert_same(found, streamsvd.load(place))
    (tmp_path / "mine").mkdir()
    with pytest.raises(StoreError, match=r"mine exists and is not a result of streamsvd"):
        found.save(tmp_path / "mine", overwrite=True)
    assert {p.name for p in tmp_path.iterdir()} == {"kept", "mine"}


@pytest.mark.parametrize("kind", MAKERS)
def test_a_save_that_is_stopped_leaves_what_was_there(kind, tmp_path, monkeypatch):
    found, place = made(kind), tmp_path / "kept"
    steps = 0

    def stopping(step: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any) -> Any:
            nonlocal steps
            steps += 1
            if steps == stop:
                raise KeyboardInterrupt
            return step(*args)

        return counted

    for name in ("_create", "_write_record"):
        monkeypatch.setattr(writer, name, stopping(getattr(writer, name)))
    stop = 1 if kind == "rate_curve" else 2  # which has no array
    with pytest.raises(KeyboardInterrupt):
        found.save(place)
    assert not list(tmp_path.iterdir())
    stop = 0
    found.save(place)
    steps, stop = 0, 1
    with pytest.raises(KeyboardInterrupt):
        found.save(place, overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert_same(found, streamsvd.load(place))


KILLED = """
import os, signal, sys
import numpy as np
import streamsvd
from streamsvd.store.places import local
found = streamsvd.lstsq(np.eye(50, 3), np.ones(50))
if sys.argv[2] == "new":
    local.put_in_place = lambda *args, **more: os.kill(os.getpid(), signal.SIGKILL)
found.save(sys.argv[1], overwrite=True)
"""


def test_a_process_that_is_killed_while_it_saves_leaves_nothing_to_load(tmp_path):
    place = tmp_path / "kept"
    run = [sys.executable, "-c", KILLED, str(place)]
    here = {**os.environ, "PYTHONPATH": str(Path(streamsvd.__file__).parents[1])}
    assert subprocess.run([*run, "new"], env=here, check=False).returncode == -signal.SIGKILL
    assert [p.name[:13] for p in tmp_path.iterdir()] == ["kept.partial-"]
    with pytest.raises(StoreError, match="kept is not a result of streamsvd|does not exist"):
        streamsvd.load(place)
    found = made("lstsq")
    found.save(place)  # sweeps what the dead have left
    assert [p.name for p in tmp_path.iterdir()] == ["kept"]
    assert subprocess.run([*run, "new"], env=here, check=False).returncode == -signal.SIGKILL
    assert_same(found, streamsvd.load(place))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(*args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writer, "_write_record", full)
    with pytest.raises(StoreError, match=r"No space left on device. Free space"):
        made("lstsq").save(tmp_path / "kept")
    assert not list(tmp_path.iterdir())


WAYS_TO_SELECT = (
    np.asarray,
    lambda U: U[:],
    lambda U: U.oindex[np.arange(U.shape[0])],
    lambda U: U.vindex[np.arange(U.shape[0]), [0] * U.shape[0]],
    lambda U: U[np.ones(U.shape, bool)],
    lambda U: U.blocks[:],
    lambda U: U.get_basic_selection(),
)


@pytest.mark.parametrize(("kind", "i"), CASES)
@pytest.mark.parametrize("way", ["flipped", "short", "empty", "gone"])
def test_every_damaged_array_is_named(kind, i, way, tmp_path):
    place = made(kind, i).save(tmp_path / "kept")
    files = [p for p in place.rglob("*") if p.is_file() and "c" in p.relative_to(place).parts]
    assert files or kind == "rate_curve"  # which has no array
    for file in files:
        data = file.read_bytes()
        flipped = data[:-9] + bytes([data[-9] ^ 1]) + data[-8:] if len(data) > 8 else data[:-1]
        if way == "gone":
            file.unlink()
        else:
            file.write_bytes({"flipped": flipped, "short": data[:-1], "empty": b""}[way])
        name = file.relative_to(place).parts[0]
        is_lazy = name == "U" or (kind, name) in {("rotate", "scores"), ("embed", "vectors")}
        if is_lazy and way != "gone":  # it is read where it is used
            lazy = getattr(streamsvd.load(place), name)
            for select in WAYS_TO_SELECT:
                with pytest.raises(
                    CorruptChunkError, match=rf"'{name}' of .*kept is damaged: .*Restore"
                ):
                    select(lazy)
            with pytest.raises(IndexError):
                lazy[10**9]
            with pytest.raises(ValueError, match="zero"):  # which is not called damage
                lazy[::0]
            with pytest.raises(ValueError, match="shape mismatch"):
                lazy.vindex[[0, 1], [0, 1, 0]]
        else:
            with pytest.raises(StoreError, match=rf"\b{name}\b"):
                streamsvd.load(place)
        file.write_bytes(data)
    assert_same(made(kind, i), streamsvd.load(place))


@pytest.mark.parametrize("kind", MAKERS)
def test_no_metadata_of_an_array_can_be_lost_unseen(kind, tmp_path):
    place = made(kind).save(tmp_path / "kept")
    for file in [p for p in place.glob("*/zarr.json")]:
        data = file.read_bytes()
        for text in (b"", b"{}", data.replace(b'"float64"', b'"float32"'), None):
            if text == data:
                continue
            file.unlink() if text is None else file.write_bytes(text)
            with pytest.raises(StoreError, match=file.parent.name):
                streamsvd.load(place)
            file.write_bytes(data)


@pytest.mark.parametrize(("kind", "i"), CASES)
def test_no_bit_of_the_metadata_of_an_array_can_change_unseen(kind, i, tmp_path):
    """Not even those bits that leave it a zarr array: other names of chunks, other bytes in a number, another fill value."""
    place = made(kind, i).save(tmp_path / "kept")
    files = list(place.glob("*/zarr.json"))
    assert files or kind == "rate_curve"  # which has no array
    for file in files:
        data, name = file.read_bytes(), file.parent.name
        texts = [
            data.replace(one, other)
            for one, other in (
                (b'"separator": "/"', b'"separator": "."'),
                (b'"endian": "little"', b'"endian": "big"'),
                (b'"fill_value": 0', b'"fill_value": 1'),
                (b'"data_type": "float64"', b'"data_type": "int64"'),
                (b'"zarr_format"', b'"zarr_fosmat"'),
            )
            if one in data
        ]
        assert len(texts) >= 3 - (b"int8" in data or b"bool" in data)
        texts += [  # every bit of a byte, along the file
            data[:at] + bytes([data[at] ^ 1 << at // 16 % 8]) + data[at + 1 :]
            for at in range(0, len(data), 16)
        ]
        for text in texts:
            file.write_bytes(text)
            with pytest.raises(StoreError, match=rf"kept is damaged: {name}/zarr.json.*a copy"):
                streamsvd.load(place)
        file.write_bytes(data)
    assert_same(made(kind, i), streamsvd.load(place))


def test_a_result_is_not_saved_over_what_it_reads(tmp_path):
    streamsvd.svd(A, 2, u=True, out=tmp_path / "kept")
    found = streamsvd.load(tmp_path / "kept")
    with pytest.raises(SpecError, match=r"path='.*kept' and '.*kept/U', which is read"):
        found.save(tmp_path / "kept", overwrite=True)
    assert_same(found, streamsvd.load(tmp_path / "kept"))


def test_what_svd_writes_is_what_it_hands_back(tmp_path):
    for i, call in enumerate((streamsvd.svd, streamsvd.pca)):
        found = call(WITH_NAN, 2, nonfinite="mean", mask=MASK, u=True, out=tmp_path / str(i))
        again = streamsvd.load(tmp_path / str(i))
        assert_same(found, again)


@pytest.mark.parametrize(
    "place", ["https://host/x", "memory://x", "s3://", "s3://bucket", Path("s3://b/x")]
)
def test_a_place_that_cannot_be_written_to_is_refused(place):
    with pytest.raises(
        SpecError, match=r"path='[a-z0-9]+:/.*(nothing is written|whole bucket|lost a slash)"
    ):
        made("lstsq").save(place)


def test_files_of_arrays_alone_are_told_apart(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.ones(3))
    with pytest.raises(StoreError, match=r"x.npz holds arrays alone, .*numpy.load reads them"):
        streamsvd.load(tmp_path / "x.npz")
    (tmp_path / "y").write_text("no arrays")
    with pytest.raises(StoreError, match=r"y is a file, and no .npz file"):
        streamsvd.load(tmp_path / "y")
    with pytest.raises(StoreError, match="nothing is not a result of streamsvd"):
        streamsvd.load(tmp_path / "nothing")


def test_a_kernel_that_is_a_function_is_not_saved(tmp_path):
    found = streamsvd.nystrom(A, lambda X, Y: X @ Y.T, n_centres=4)
    with pytest.raises(SpecError, match=r"kernel.name is a function, which cannot be saved"):
        found.save(tmp_path / "kept")
    assert not list(tmp_path.iterdir())


def test_what_was_loaded_works_on(tmp_path):
    fit, more = made("kernel_ridge"), RNG.standard_normal((40, 8))
    again = streamsvd.load(fit.save(tmp_path / "fit"))
    assert again.predict(more).tobytes() == fit.predict(more).tobytes()
    found = made("cluster")
    again = streamsvd.load(found.save(tmp_path / "clusters"))
    for name in BLOCKS:
        assert again.approximation(name).tobytes() == found.approximation(name).tobytes()
    found = made("nystrom")
    again = streamsvd.load(found.save(tmp_path / "map"))
    assert_same(found.update(more).dictionary, again.update(more).dictionary)


@pytest.mark.parametrize(
    ("kind", "loader", "other"),
    [
        ("nystrom", streamsvd.load_nystrom, "kernel_ridge"),
        ("kernel_ridge", streamsvd.load_ridge, "nystrom"),
    ],
)
def test_loaders_of_one_kind_take_that_kind_alone(kind, loader, other, tmp_path):
    found = made(kind)
    assert_same(found, loader(found.save(tmp_path / "kept")))
    made(other).save(tmp_path / "other")
    with pytest.raises(
        StoreError, match=f"other holds a result of {other}, not of {kind}. streamsvd.load opens it"
    ):
        loader(tmp_path / "other")


def test_files_of_earlier_releases_are_read(tmp_path):
    earlier = Path(__file__).parents[1] / "store" / "results" / "earlier"
    X = np.random.default_rng(1).standard_normal((30, 3))
    for kind, loader in (
        ("nystrom", streamsvd.load_nystrom),
        ("kernel_ridge", streamsvd.load_ridge),
    ):
        found = streamsvd.load(earlier / f"{kind}.npz")
        assert kind_of(found) == kind
        assert_same(found, loader(earlier / f"{kind}.npz"))
        assert_same(found, streamsvd.load(found.save(tmp_path / kind)))
        with np.load(earlier / f"{kind}.npz") as kept:
            assert found.feature_map.whitening.tobytes() == kept["whitening"].tobytes()
        assert found.feature_map(X).shape[0] == 30


def test_models_collections_and_streams_come_through_the_same_door(tmp_path):
    streamsvd.compress(BLOCKS, tmp_path / "collection", error=0.1)
    found = streamsvd.load(tmp_path / "collection")
    assert type(found) is streamsvd.CompressedCollection
    assert set(found) == set(BLOCKS)

    streamsvd.update(tmp_path / "model", A, "first", rank=3)
    found = streamsvd.load(tmp_path / "model")
    assert_same(found, streamsvd.Model.open(tmp_path / "model").as_svd())
    assert_same(found, streamsvd.load(found.save(tmp_path / "factors")))

    stream = streamsvd.TopEigenvectorStream(2, n_rows=300)
    stream.partial_fit(A[:200])
    stream.save(tmp_path / "stream")
    again = streamsvd.load(tmp_path / "stream")
    assert type(again) is streamsvd.TopEigenvectorStream
    assert again.n_rows_seen == 200


def test_a_result_that_has_become_a_model_is_a_model(tmp_path):
    streamsvd.svd(A, 3, center=True, out=tmp_path / "kept")
    streamsvd.update(tmp_path / "kept", RNG.standard_normal((50, 8)), "more")
    found = streamsvd.load(tmp_path / "kept")
    assert found.info.n_rows == 350
    assert found.preparation["center"] is True


def test_a_result_that_became_a_model_is_not_replaced(tmp_path):
    A = np.random.default_rng(0).standard_normal((60, 8))
    streamsvd.svd(A, 2, out=tmp_path / "M")
    streamsvd.update(tmp_path / "M", A[:20])
    with pytest.raises(streamsvd.StoreError, match="is a model by now; it will not be replaced"):
        streamsvd.svd(A, 2, out=tmp_path / "M", overwrite=True)
    assert streamsvd.Model.open(tmp_path / "M").n_rows == 80
