"""``info`` of anything: what it is, and a line that runs as it is printed."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import zarr
from scipy import sparse

import streamsvd
from streamsvd.cli import app

RNG = np.random.default_rng(0)
A = RNG.standard_normal((60, 8))
FIELD = RNG.standard_normal((30, 4, 5)).astype("f4")


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def told(capsys):
    """Runs a line, and hands back its code and its object, or what it printed."""

    def run(line):
        capsys.readouterr()
        code = app.run(shlex.split(line))
        said = capsys.readouterr()
        assert code == 0, said.err
        return json.loads(said.out) if "--json" in line else said.out

    return run


def write_netcdf(path):
    xarray = pytest.importorskip("xarray")
    time = np.arange("2001-01-01", "2001-01-31", dtype="M8[D]").astype("M8[ns]")
    lat = ("lat", np.linspace(-60, 60, 4), {"units": "degrees_north"})
    found = xarray.Dataset(
        {"t2m": (("time", "lat", "lon"), FIELD, {"units": "K", "long_name": "temperature"})},
        {"time": time, "lat": lat, "lon": np.arange(5.0)},
    )
    found.to_netcdf(path, engine="scipy")


def write_hdf5(path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w") as file:
        file["frames"] = FIELD


def write_packed(path):
    array = zarr.create_array(path, data=np.arange(480, dtype="i2").reshape(60, 8), chunks=(7, 8))
    array.attrs.update(scale_factor=0.5, _FillValue=7)


def write_shards(path):
    Path(path).mkdir()
    for i, (a, b) in enumerate(((0, 20), (20, 35), (35, 60))):
        np.save(f"{path}/part-{i}.npy", A[a:b])


def write_tensors(path):
    from streamsvd.testing.writing import write_known  # noqa: F401 - the helpers are at hand

    header = json.dumps(
        {"w": {"dtype": "F32", "shape": [60, 8], "data_offsets": [0, 1920]}}
    ).encode()
    Path(path).write_bytes(len(header).to_bytes(8, "little") + header + A.astype("f4").tobytes())


def write_parquet(path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    table = pa.table({f"c{j}": A[:, j] for j in range(8)})
    parquet.write_table(table, path, row_group_size=20)


def write_plink(path):
    from tests.store.sources.test_plink import genotypes, write

    write(Path.cwd(), genotypes(60, 12), Path(path).stem)


def write_annotated(path):
    anndata = pytest.importorskip("anndata")
    anndata.AnnData(A).write_h5ad(path)


KINDS = {
    "p.parquet": write_parquet,
    "g.bed": write_plink,
    "cells.h5ad": write_annotated,
    "a.npy": lambda path: np.save(path, A),
    "F.npy": lambda path: np.save(path, np.asfortranarray(A)),
    "a b.npz": lambda path: np.savez(path, a=A),
    "A.zarr": lambda path: zarr.create_array(path, data=A, chunks=(10, 8)),
    "columns.zarr": lambda path: zarr.create_array(path, data=A, chunks=(60, 1)),
    "packed.zarr": write_packed,
    "t2m.nc": write_netcdf,
    "x.h5": write_hdf5,
    "w.safetensors": write_tensors,
    "shards": write_shards,
    "x.bin --dtype float64 --shape 60,8": lambda _: A.tofile("x.bin"),
}


@pytest.mark.filterwarnings("ignore:.*:FutureWarning", "ignore:.*:DeprecationWarning")
@pytest.mark.parametrize("name", KINDS)
def test_the_line_that_is_printed_runs(here, told, name):
    words = shlex.join([name]) if name == "a b.npz" else name
    KINDS[name](name)
    record = told(f"info {words} --json")
    text = told(f"info {words}")
    command = record["command"]
    assert command in text
    assert record["what"] in text
    assert command.startswith("streamsvd pca ")
    done = told(f"{command.removeprefix('streamsvd ')} --json --quiet")
    assert done["status"] == "converged"
    given = command.partition(" --rank")[0].removeprefix("streamsvd pca ")
    told(f"convert {given} B.zarr --quiet")
    copy = told("info B.zarr --json")
    assert (copy["shape"], copy["rows"], copy["columns"]) == tuple(
        record[k] for k in ("shape", "rows", "columns")
    )
    assert not [p for p in here.iterdir() if p.suffix == ".unfinished"]
    again = told(f"{copy['command'].removeprefix('streamsvd ')} --nonfinite mean --json --quiet")
    np.testing.assert_allclose(again["singular_values"], done["singular_values"], rtol=1e-6)


def test_a_field_is_described_by_its_coordinates(here, told):
    write_netcdf("t2m.nc")
    record = told("info t2m.nc --json")
    assert record["shape"] == [30, 20]
    assert record["rows"][0] | {"first": "2001-01-01", "last": "2001-01-30"} == record["rows"][0]
    text = told("info t2m.nc")
    assert "time (30): 2001-01-01 to 2001-01-30" in text
    assert "lat (4): -60 to 60 degrees_north" in text
    assert "t2m, temperature, in K" in text
    assert "--rows time" in record["command"]


def test_several_matrices_are_listed_with_the_line_that_chooses_one(here, told):
    group = zarr.create_group("air.zarr")
    for name in ("u", "v"):
        group.create_array(
            name, data=FIELD, chunks=(10, 4, 5), dimension_names=("time", "lat", "lon")
        )
    group.create_array("area", data=FIELD[0], dimension_names=("lat", "lon"))
    group["u"].attrs["coordinates"] = "area"
    group.create_array("lat", data=np.arange(4.0), dimension_names=("lat",))
    np.savez("z.npz", a=A, b=A[:, :3], c=A[0])
    for source, names in (("air.zarr", ["u", "v"]), ("z.npz", ["a", "b"])):
        record = told(f"info {source} --json")
        assert [array["name"] for array in record["arrays"]] == names
        for array in record["arrays"]:
            assert array["command"] in told(f"info {source}")
            chosen = told(array["command"].removeprefix("streamsvd ") + " --json")
            assert (
                told(chosen["command"].removeprefix("streamsvd ") + " --json --quiet")["status"]
                == "converged"
            )


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
@pytest.mark.parametrize("dense", [False, True])
def test_of_annotated_matrices_it_is_the_data_that_is_told_of(here, told, kind, dense):
    anndata = pytest.importorskip("anndata")
    made = RNG.poisson(1.0, (40, 6)).astype("f4")
    counts = made if dense else sparse.csr_matrix(made)
    found = anndata.AnnData(counts.copy())
    found.raw = found.copy()
    found.layers["counts"] = counts.copy()
    found.obsm["X_pca"] = RNG.standard_normal((40, 2))
    getattr(found, f"write_{kind}")(f"cells.{kind}")
    text = told(f"info cells.{kind}")
    assert "shape     40 x 6" in text
    assert "factorise streamsvd pca" in text
    assert "also      layers/counts, raw/X, obsm/X_pca: choose one with --variable" in text
    record = told(f"info cells.{kind} --json")
    assert record["kind"] == "source"
    assert record["also"] == ["layers/counts", "raw/X", "obsm/X_pca"]
    assert "also" not in told(f"info cells.{kind} --variable layers/counts")
    assert told(record["command"].removeprefix("streamsvd ") + " --json --quiet")["rank"] == 6


def test_options_of_the_source_are_in_the_line(here, told):
    write_netcdf("t2m.nc")
    record = told(
        "info t2m.nc --variable t2m --rows time --weights lat=cos --missing-value -9 --json"
    )
    for words in (
        "--variable t2m",
        "--rows time",
        "--weights lat=cos",
        "--missing-value -9.0",
        "--nonfinite mean",
    ):
        assert words in record["command"]
    told(record["command"].removeprefix("streamsvd ") + " --json --quiet")


def test_one_read_counts_what_is_missing(here, told):
    X = A.copy()
    X[3, 2], X[:, 4], X[:, 5], X[7, 0] = np.nan, np.nan, 2.0, np.inf
    np.save("n.npy", X)
    found = told("info n.npy --count --json")
    counts = found["counts"]
    finite = X[np.isfinite(X)]
    assert counts == counts | {
        "missing": 61, "infinite": 1, "columns_with_missing": 2, "columns_without_values": 1, "constant_columns": 1,
        "low": finite.min(), "high": finite.max(), "bytes_read": X.nbytes,
    }  # fmt: skip
    assert found["command"].endswith("--nonfinite mean")
    text = told("info n.npy --count --quiet")
    assert "61 of 480 entries (0.127), in 2 columns, 1 of them without any value" in text
    assert "1 of 8 columns" in text
    assert "1 entries are Inf" in text


def test_slow_layouts_come_with_the_line_that_makes_fast_ones(here, told):
    zarr.create_array("slow.zarr", data=RNG.standard_normal((2000, 100)), chunks=(2000, 5))
    record = told("info slow.zarr --json")
    assert record["faster"] == "streamsvd convert slow.zarr slow-rows.zarr"
    told(record["faster"].removeprefix("streamsvd ") + " --quiet")
    assert told("info slow-rows.zarr --json")["faster"] == ""


def write_cells(path):
    anndata = pytest.importorskip("anndata")
    made = sparse.random_array((60, 8), density=0.25, format="csr", rng=RNG, dtype="f4")
    found = anndata.AnnData(sparse.csr_matrix(made))
    found.layers["turned"] = sparse.csc_matrix(made)
    found.obsm["X_pca"] = RNG.standard_normal((60, 2))
    getattr(found, f"write_{path.suffix[1:]}")(path)
    return made.nnz


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", ["zarr", "h5ad"])
def test_of_a_sparse_matrix_it_says_what_is_stored(here, told, kind):
    entries = write_cells(here / f"cells.{kind}")
    text = told(f"info cells.{kind} --variable X")
    assert f"csr of {entries} entries (25.00%), 960 B" in text
    assert "960 B for one pass along rows; 1.88 KiB with its zeros" in text
    assert "by rows" not in text
    line = text.partition("factorise streamsvd ")[2].splitlines()[0].partition("--rank")[0]
    assert told(f"{line} --rank 2 --json")["rank"] == 2
    turned = told(f"info cells.{kind} --variable layers/turned")
    assert "csc of" in turned
    assert "for one pass along columns" in turned
    wanted = f"streamsvd convert cells.{kind} cells-rows.zarr --variable layers/turned"
    assert turned.partition("by rows")[2].strip() == wanted
    record = told(f"info cells.{kind} --variable X --json")["stored"]
    assert record["format"] == "csr"
    assert (record["entries"], record["density"], record["nbytes"]) == (entries, 0.25, 960)


@pytest.mark.filterwarnings("ignore")
def test_sparse_matrices_are_listed_among_others(here, told):
    write_cells(here / "cells.zarr")
    del zarr.open_group("cells.zarr").attrs["encoding-type"]  # matrices of any group
    zarr.consolidate_metadata("cells.zarr")
    listed = told("info cells.zarr --json")["arrays"]
    assert sorted(each["name"] for each in listed) == ["X", "layers/turned", "obsm/X_pca"]
    text = told("info cells.zarr")
    assert "float32, csr" in text
    assert "float32, csc" in text


def test_text_and_strange_files_come_with_the_line_that_gets_them_in(here, told):
    Path("t.csv").write_text("n,a,b\nx,1,2\ny,3,4\nz,4,9\n")
    record = told("info t.csv --json")
    assert record["command"] == "streamsvd convert t.csv t.zarr"
    told(record["command"].removeprefix("streamsvd ") + " --quiet")
    assert told("info t.zarr --json")["columns"][0]["first"] == "a"
    Path("q.xlsx").write_bytes(b"x")
    assert "pandas.read_excel('q.xlsx')" in told("info q.xlsx")
    assert told("info q.xlsx --json")["status"] == "not read"


def test_what_was_made_here_is_known(here, told):
    np.save("a.npy", A)
    streamsvd.pca("a.npy", 2, out="r")
    streamsvd.update("m", "a.npy", rank=2)
    streamsvd.sample_rows("a.npy", 20).save("s")
    for place, what in (("r", "result of pca"), ("m", "model"), ("s", "result of sample_rows")):
        record = told(f"info {place} --json")
        assert what in record["what"]
        text = told(f"info {place}")
        for line in record["next"]:
            assert line in text
            if "NEW" not in line and "SOURCE" not in line and "--out" not in line:
                told(line.removeprefix("streamsvd "))


def test_saves_of_a_run_are_known(here, told):
    streamsvd.nystrom  # noqa: B018 - the verb is there

    class Stop:
        def __call__(self, event):
            if type(event).__name__ == "PassDone":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        streamsvd.nystrom(
            A, n_centres=5, length=1.0, checkpoint="ck", save_seconds=0, callback=Stop()
        )
    record = told("info ck --json")
    assert record["what"] == "saves of a run of nystrom"
    assert "--checkpoint ck" in record["next"][0]
