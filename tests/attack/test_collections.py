"""Compressed collections where they once lost data, or said what is not so."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.cli import app

B = np.random.default_rng(0).standard_normal((60, 3))


def block(seed):
    return B @ np.random.default_rng(seed).standard_normal((3, 20))


@pytest.fixture
def held(tmp_path):
    place = tmp_path / "in" / "C.zarr"
    place.parent.mkdir()
    streamsvd.compress({"a": block(1), "b": block(2)}, place)
    return place


@pytest.mark.parametrize("sizes", [(1.0, 1e307), (1e307, 1.0), (1e-300, 1e300)])
def test_additions_of_any_size_leave_what_was_there_readable(tmp_path, sizes):
    place = tmp_path / "C.zarr"
    old = {name: sizes[0] * block(i) for i, name in enumerate("ab")}
    streamsvd.compress(old, place)
    streamsvd.compress({"n": sizes[1] * block(7)}, place, append=True)
    found = streamsvd.open_compressed(place)
    for name, A in (old | {"n": sizes[1] * block(7)}).items():
        unit = np.abs(A).max()
        off = np.linalg.norm(found[name] / unit - A / unit)
        assert off <= (found.block_errors[name] + 1e-12) * np.linalg.norm(A / unit)


@pytest.mark.parametrize("where", ["in", ".", "in/C.zarr", "in/C.zarr/new", "in/C.zarr/versions"])
def test_a_place_around_or_inside_the_collection_is_refused(held, tmp_path, where, monkeypatch):
    precious = tmp_path / "in" / "precious.txt"
    precious.write_text("x")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(streamsvd.SpecError, match="lie in one another"):
        streamsvd.decompress(held, where, overwrite=True)
    assert precious.exists()
    assert set(streamsvd.open_compressed(held)) == {"a", "b"}


@pytest.mark.parametrize("name", ["home", "home.zarr", "home.safetensors"])
def test_what_is_no_earlier_output_is_never_replaced(held, tmp_path, name):
    thesis = tmp_path / name / "docs" / "thesis.txt"
    thesis.parent.mkdir(parents=True)
    thesis.write_text("x")
    with pytest.raises(streamsvd.StoreError, match="holds something else"):
        streamsvd.decompress(held, tmp_path / name, overwrite=True)
    assert thesis.read_text() == "x"


@pytest.mark.parametrize("name", ["back", "back.zarr", "back.safetensors"])
def test_an_earlier_output_is_replaced(held, tmp_path, name):
    for names in (["a", "b"], ["a"]):
        written = streamsvd.decompress(held, tmp_path / name, names, overwrite=True)
        assert list(written) == names
        opened = streamsvd.open_collection(tmp_path / name)
        assert [m.name for m in opened.members] == names


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("a/zarr.json", "o.zarr"), ("zarr.json", "o.zarr"), ("zarr.json/a", "o"), ("writing.lock", "o"), ("a\\b", "o.zarr"),
        ("__metadata__", "o.safetensors"), ("x" * 300, "o"), ("../x", "o"),
    ],
)  # fmt: skip
def test_names_that_a_place_would_lose_are_refused(tmp_path, name, out):
    streamsvd.compress({name: block(1), "q": block(2)}, tmp_path / "C.zarr")
    with pytest.raises(streamsvd.SpecError, match="is no name of an array"):
        streamsvd.decompress(tmp_path / "C.zarr", tmp_path / out)
    assert not (tmp_path / out).exists()
    assert streamsvd.open_compressed(tmp_path / "C.zarr")[name].shape == (60, 20)


def test_names_are_taken_as_they_are_before_they_are_patterns(tmp_path):
    streamsvd.compress({"a[0]": block(1), "a0": block(2)}, tmp_path / "C.zarr")
    assert streamsvd.decompress(tmp_path / "C.zarr", tmp_path / "o", "a[0]") == ("a[0]",)
    assert streamsvd.decompress(tmp_path / "C.zarr", tmp_path / "p", "a*") == ("a[0]", "a0")
    with pytest.raises(streamsvd.SpecError, match="name='nope' matches no name"):
        streamsvd.decompress(tmp_path / "C.zarr", tmp_path / "r", "nope")


def test_tall_matrices_of_few_columns_keep_the_memory_promise(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "in").mkdir()
    for i in range(8):
        np.save(tmp_path / "in" / f"{i}.npy", rng.standard_normal((60_000, 4)).astype("f4"))
    with pytest.raises(streamsvd.BudgetError) as caught:
        streamsvd.cluster(tmp_path / "in", backend="primal", memory="41MiB")
    found = streamsvd.cluster(tmp_path / "in", backend="primal", memory=caught.value.needs)
    assert found.info.peak_bytes <= found.info.projected_bytes <= caught.value.needs


def test_what_cannot_be_meant_is_refused_before_any_work(tmp_path):
    blocks = {"a": block(1)}
    with pytest.raises(streamsvd.SpecError, match="masked array"):
        streamsvd.cluster({"m": np.ma.masked_array(block(1), mask=block(1) > 1)})
    with pytest.raises(streamsvd.SpecError, match="seed='x'"):
        streamsvd.cluster(blocks, seed="x")
    with pytest.raises(streamsvd.SpecError, match="no text in UTF-8"):
        streamsvd.compress({"\ud800": block(1)}, tmp_path / "x.zarr")
    with pytest.raises(streamsvd.SpecError, match="without rows"):
        streamsvd.cluster({"a": np.zeros((0, 3))}, backend="gram")
    with pytest.raises(streamsvd.SpecError) as caught:
        streamsvd.cluster(blocks, error=1)
    assert "allow_trivial" not in str(caught.value)
    assert not (tmp_path / "x.zarr").exists()
    streamsvd.compress(blocks, tmp_path / "y.zarr", rank=np.int64(2))
    with pytest.raises(streamsvd.SpecError, match="backend='gram' was passed"):
        streamsvd.compress({"b": block(2)}, tmp_path / "y.zarr", append=True, backend="gram")


def test_damage_is_told_with_what_helps(held, capsys):
    victim = next(p for p in held.rglob("c/0/0"))
    victim.write_bytes(victim.read_bytes()[:-1] + b"\0")
    found = streamsvd.open_compressed(held)
    with pytest.raises(streamsvd.StoreError) as caught:
        for name in found:
            found[name]
    assert "repair" not in str(caught.value)
    for manifest in held.rglob("manifest.json"):
        manifest.write_bytes(b"{}")
    assert app.run(["info", str(held)]) == 1
    said = capsys.readouterr().err
    assert "estore" in said
    assert "from a copy" in said
    assert "repair" not in said
