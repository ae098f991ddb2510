"""Genotypes of PLINK are counts of the first allele, persons by variants, as bed-reader reads them."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

import streamsvd
from streamsvd.errors import ShapeError, StoreError
from streamsvd.store.sources import open_source
from streamsvd.store.sources.files import plink
from streamsvd.store.sources.labels import source_labels
from streamsvd.testing import assert_source

RNG = np.random.default_rng(0)
CODES = {2.0: 0b00, 1.0: 0b10, 0.0: 0b11}


def genotypes(m: int, n: int) -> np.ndarray:
    X = RNG.integers(0, 3, (m, n)).astype("f4")
    X[RNG.random((m, n)) < 0.1] = np.nan
    return X


def encode(X: np.ndarray) -> bytes:
    """Variant by variant, four persons to a byte, the first in the lowest bits."""
    m, n = X.shape
    codes = np.full((n, -(-m // 4) * 4), 0, np.uint8)
    codes[:, :m] = np.vectorize(lambda x: CODES.get(x, 0b01), otypes=[np.uint8])(X.T)
    parts = codes.reshape(n, -1, 4)
    return bytes((parts << np.array([0, 2, 4, 6], np.uint8)).sum(axis=2).astype(np.uint8).tobytes())


def write(folder, X, name="a", data=None):
    m, n = X.shape
    path = folder / f"{name}.bed"
    path.write_bytes(b"\x6c\x1b\x01" + (encode(X) if data is None else data))
    (folder / f"{name}.fam").write_text("".join(f"f{i} p{i} 0 0 1 -9\n" for i in range(m)))
    (folder / f"{name}.bim").write_text(
        "".join(f"{1 + j % 22}\trs{j}\t0\t{10 * j}\tA\tG\n" for j in range(n))
    )
    return path


@pytest.mark.parametrize("shape", [(1, 1), (4, 3), (5, 9), (103, 17), (8, 1)])
@pytest.mark.parametrize("step", [1, 5, 1 << 16])
def test_any_rectangle_is_the_one_of_the_counts(tmp_path, monkeypatch, shape, step):
    monkeypatch.setattr(plink, "STEP_BYTES", step)
    X = genotypes(*shape)
    assert_source(write(tmp_path, X), like=X)


def test_long_variants_are_cut_into_runs(tmp_path):
    X = genotypes(40_000, 3)
    assert_source(write(tmp_path, X), like=X)
    assert open_source(tmp_path / "a.bed").chunks == (plink.RUN_PERSONS, 3)


def test_what_bed_reader_reads_is_what_is_read_here(tmp_path, read):
    bed_reader = pytest.importorskip("bed_reader")
    X = genotypes(57, 23)
    path = tmp_path / "b.bed"
    ids = {"iid": [f"p{i}" for i in range(57)], "sid": [f"rs{j}" for j in range(23)]}
    bed_reader.to_bed(path, X, properties=ids)
    np.testing.assert_array_equal(read(open_source(path)), X)
    labels = source_labels(open_source(path))
    assert labels.column_names.tolist() == ids["sid"]
    assert labels.coordinate("sample").array.tolist() == ids["iid"]
    with bed_reader.open_bed(write(tmp_path, X)) as bed:
        np.testing.assert_array_equal(bed.read(dtype="float32"), X)


def test_persons_and_variants_are_labels(tmp_path):
    labels = source_labels(open_source(write(tmp_path, genotypes(5, 4))))
    assert [d.name for d in (*labels.rows, *labels.columns)] == ["sample", "variant"]
    assert labels.coordinate("position").array.tolist() == [0, 10, 20, 30]
    assert labels.coordinate("allele_1").array.tolist() == ["A"] * 4


def test_cohorts_are_stacked_where_their_variants_are_the_same(tmp_path):
    X = genotypes(9, 6)
    (tmp_path / "s").mkdir()
    write(tmp_path / "s", X[:4], "c1")
    write(tmp_path / "s", X[4:], "c2")
    assert_source(tmp_path / "s", like=X)
    assert source_labels(open_source(tmp_path / "s")).coordinate("sample").array.size == 9


def test_what_is_no_complete_file_is_refused(tmp_path, read):
    X = genotypes(9, 6)
    path = write(tmp_path, X)
    source, data = open_source(path), path.read_bytes()
    for changed, words in (
        (b"chr1\t100\t200\n", "a .bed of intervals|intervals of a genome"),
        (b"", "is empty"),
        (b"words", "no .bed file of PLINK"),
        (b"\x6c\x1b\x00" + data[3:], "person by person.*--make-bed"),
        (b"\x6c\x1b", "third byte"),
        (data[:-1], "has 20 bytes, and 6 variants of 9 persons, .* are 21"),
        (data + b"\0", "has 22 bytes"),
    ):
        path.write_bytes(changed)
        with pytest.raises(StoreError, match=words):
            open_source(path)
    path.write_bytes(data[:-1])
    with pytest.raises(StoreError, match="a.bed"):
        read(source)
    path.write_bytes(data)
    (tmp_path / "a.bim").write_text("1 rs1\n" * 6)
    assert "2 words in line 1" in source_labels(open_source(path)).notes[0]
    (tmp_path / "a.fam").write_text("")
    with pytest.raises(ShapeError, match="0 persons and 6 variants"):
        open_source(path)
    (tmp_path / "a.fam").unlink()
    with pytest.raises(StoreError, match=r"a\.fam is not there"):
        open_source(path)


def test_genotypes_are_factorised_with_missing_ones_at_the_mean(tmp_path):
    X = genotypes(60, 300)
    found = streamsvd.pca(write(tmp_path, X), 3, nonfinite="mean")
    filled = np.where(np.isnan(X), np.nanmean(X.astype("f8"), axis=0), X)
    s = np.linalg.svd(filled - filled.mean(axis=0), compute_uv=False)
    np.testing.assert_allclose(found.explained_variance, s[:3] ** 2 / 59, rtol=1e-3)
    assert found.info.missing == np.isnan(X).sum()
    assert found.labels.column_names[0] == "rs0"


@pytest.mark.slow
def test_a_pass_along_the_variants_keeps_the_memory_law(tmp_path):
    """1,500 persons and 200,000 variants are 1.1 GiB of numbers."""
    m, n = 1500, 200_000
    line = RNG.integers(0, 256, (n // 100, -(-m // 4)), np.uint8).tobytes()
    path = write(tmp_path, np.empty((m, n), bool), data=line * 100)
    code = f"""
import resource, streamsvd
streamsvd.pca(streamsvd.open({str(write(tmp_path, genotypes(40, 60), "small"))!r}), 2, nonfinite="mean", memory="256MiB")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
plan = streamsvd.plan_svd({str(path)!r}, 10, memory="256MiB")
found = streamsvd.pca({str(path)!r}, 10, nonfinite="mean", memory="256MiB", tol=0.05)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, found.info.projected_bytes if hasattr(found.info, "projected_bytes") else plan.projected_bytes, plan.layout.axis)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, projected, axis = done.stdout.split()
    assert axis == "columns"
    assert int(grown) <= int(projected) <= 256 << 20
