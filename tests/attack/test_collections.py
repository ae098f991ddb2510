"""Compressed collections where they once lost data, or said what is not so."""

from __future__ import annotations

import time

import numpy as np
import pytest

import streamsvd
from streamsvd import NonFiniteError, SpecError
from streamsvd.cli import app
from streamsvd.errors import MissingObjectError

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
    with pytest.raises(streamsvd.NonFiniteError, match="NaN at row"):
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
    victim.unlink()
    with pytest.raises(MissingObjectError, match="is missing. Open it again if it was replaced"):
        for name in found:
            found[name]
    for manifest in held.rglob("manifest.json"):
        manifest.write_bytes(b"{}")
    assert app.run(["info", str(held)]) == 1
    said = capsys.readouterr().err
    assert "estore" in said
    assert "from a copy" in said
    assert "repair" not in said
    for entry in held.glob("log/*.json"):
        entry.unlink()
    for replace in (True, False):
        with pytest.raises(streamsvd.StoreError, match="committed. Open it again if it was"):
            streamsvd.compress({"b": block(2)}, held, overwrite=replace)


def weighted_error(A, B, rows):
    A, B = np.asarray(A, np.float64), np.asarray(B, np.float64)
    return np.linalg.norm(rows[:, None] * (A - B)) / np.linalg.norm(rows[:, None] * A)


@pytest.mark.parametrize("principal", [1.0, 0.3, "auto", None])
@pytest.mark.parametrize("mode", ["cluster", "block"])
def test_row_weights_are_the_same_for_additions(tmp_path, principal, mode):
    """They are stored in a unit of their own, which an addition must not change again."""
    rng = np.random.default_rng(1)
    rows, B = np.linspace(1, 2, 40), rng.standard_normal((40, 3))

    def some(count, noise):
        made = [B @ rng.standard_normal((3, 50)) for _ in range(count)]
        return [A + noise * np.linalg.norm(A) / 50 * rng.standard_normal(A.shape) for A in made]

    old = {f"a{i}": A for i, A in enumerate(some(3, 0.0))}
    new = {f"b{i}": A for i, A in enumerate(some(4, 0.04))} | {"c": rng.standard_normal((40, 30))}
    place, given = tmp_path / "c", {"row_weights": rows, "principal": principal, "mode": mode}
    streamsvd.compress(old, place, 0.05, **given)
    streamsvd.compress(new, place, append=True)
    held = streamsvd.open_compressed(place)
    both = {**old, **new}
    for name, A in both.items():
        assert weighted_error(A, held[name], rows) <= held.block_errors[name] <= 0.05
    for c in held.clusters:
        A = np.concatenate([both[k] for k in c.members], axis=1)
        X = np.concatenate([held[k] for k in c.members], axis=1)
        assert mode == "block" or weighted_error(A, X, rows) <= c.error_upper or c.raw


@pytest.mark.parametrize("principal", [1.0, 0.3, None])
@pytest.mark.parametrize(
    ("A", "given"),
    [
        (np.ones((8, 6)), {"inputs": np.zeros((3, 6))}),
        (np.ones((8, 6)), {"column_weights": np.zeros(6)}),
        (np.eye(8, 6)[:, :6] * [1, 0, 0, 0, 0, 0], {"inputs": np.ones((9, 6)) * [0, 1, 1, 1, 1, 1]}),
        (np.array([[1.0, np.nan]]), {}),
    ],
)  # fmt: skip
def test_what_nothing_is_left_of_is_refused_and_leaves_nothing(tmp_path, A, given, principal):
    match = (
        r"weights leave nothing of block 'a'" if given else r"NaN at row 0, column 1 \(block 'a'\)"
    )
    with pytest.raises((SpecError, NonFiniteError), match=match):
        streamsvd.compress({"a": A}, tmp_path / "c", 0.01, principal=principal, **given)
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize("principal", [1.0, 0.3, None])
@pytest.mark.parametrize("size", [1e-85, 1e-40, 1e85])
def test_weights_far_from_one_are_weights(tmp_path, principal, size):
    A = np.random.default_rng(2).standard_normal((30, 20))
    rows, columns = np.full(30, size), np.full(20, size)
    streamsvd.compress(
        {"a": A},
        tmp_path / "c",
        0.05,
        principal=principal,
        row_weights=rows,
        column_weights=columns,
    )
    held = streamsvd.open_compressed(tmp_path / "c")
    off = np.linalg.norm(A - held["a"]) / np.linalg.norm(A)
    assert off <= held.block_errors["a"] <= 0.05
    assert principal is None or off > 0.01


def test_rows_that_weigh_nothing_beside_others_decide_where_those_are_zero(tmp_path):
    A = np.random.default_rng(3).standard_normal((30, 20))
    A[0] = 0
    rows = np.r_[1e90, np.full(29, 1e-90)]
    for principal in (1.0, 0.3, None):
        streamsvd.compress(
            {"a": A}, tmp_path / "c", 0.05, principal=principal, row_weights=rows, overwrite=True
        )
        held = streamsvd.open_compressed(tmp_path / "c")
        assert (
            np.linalg.norm((A - held["a"])[1:]) / np.linalg.norm(A)
            <= held.block_errors["a"] + 1e-15
        )


def test_a_norm_below_all_numbers_is_not_zero(tmp_path):
    A = np.random.default_rng(4).standard_normal((8, 6))
    given = {"x": 1e-300 * A, "y": A}
    streamsvd.compress(given, tmp_path / "c", 0.05, column_weights={"x": np.full(6, 1e-30)})
    held = streamsvd.open_compressed(tmp_path / "c")
    np.testing.assert_allclose(held["x"] / 1e-300, A, atol=0.05 * np.linalg.norm(A))


def test_errors_of_the_largest_numbers_are_of_their_true_sizes(tmp_path):
    rng = np.random.default_rng(5)
    given = {
        "a": 1.7e308 * rng.uniform(-1, 1, (60, 60)),
        "b": np.eye(60, 1) * 1.5e308,
        "c": 1e308 * rng.choice([-1.0, 1.0], (60, 2)),
    }
    streamsvd.compress(given, tmp_path / "c", 0.01, principal=1.0)
    held = streamsvd.open_compressed(tmp_path / "c")
    for c in held.clusters:
        A = np.concatenate([given[k] for k in c.members], axis=1) / 1e300
        B = np.concatenate([held[k] for k in c.members], axis=1) / 1e300
        assert np.linalg.norm(A - B) / np.linalg.norm(A) <= c.error_upper or c.raw


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"column_weights": {0: np.ones(6)}}, "column_weights='0' matches no name"),
        ({"column_weights": np.ma.masked_array(np.ones(6), [1, 1, 1, 0, 0, 0])}, "column_weights is masked at 0, and a missing value means nothing"),
        ({"inputs": np.ones((9, 6)), "damping": None}, "damping=None is out of range"),
        ({"inputs": np.ones((9, 6)), "damping": 1e308}, r"damping=1e\+308 is out of range"),
    ],
)  # fmt: skip
def test_weights_in_odd_forms_are_refused_in_words(given, match):
    with pytest.raises(SpecError, match=match):
        streamsvd.cluster({"a": np.eye(8, 6)}, **given)


class Slow:
    """Inputs that take a while."""

    shape, dtype, chunks, name = (9, 6), np.dtype(np.float64), (9, 6), "slow"
    nbytes, read_bytes = 9 * 6 * 8, 0

    def __init__(self):
        self.values = np.random.default_rng(0).standard_normal(self.shape)

    def read(self, rows, columns, out):
        time.sleep(0.3)
        out[...] = self.values[rows, columns]

    def locate(self, row, column):
        return "slow"


def test_what_an_addition_took_counts_its_inputs(tmp_path):
    streamsvd.compress({"a": block(1)[:, :6]}, tmp_path / "c", inputs=Slow())
    done = streamsvd.compress({"b": block(2)[:, :6]}, tmp_path / "c", append=True, inputs=Slow())
    assert done.info.elapsed_s >= 0.3
