"""The table of real data is well formed, its readers read what was written, and a fetch is safe."""

import gzip
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
import zarr
from scipy.io import netcdf_file

from tools import realdata
from tools.realdata import TABLE, RealDataUnavailable, fetch

SHAPES = {  # of the one matrix in the group
    "minilm-tokens": ("embeddings.word_embeddings.weight", (30522, 384), "float32"),
    "wordllama": ("embedding.weight", (32000, 256), "float16"),
    "e1": ("air_temperature", (240, 37, 49), "float32"),
    "a1b": ("air_temperature", (240, 37, 49), "float32"),
    "ostia": ("surface_temperature", (54, 18, 432), "float32"),
    "eofs-sst": ("sst", (50, 18, 30), "float64"),
    "eofs-hgt": ("z", (65, 1, 29, 49), "float64"),
    "mnist": ("pixels", (5000, 784), "uint8"),
    "pbmc": ("X", (700, 765), "float32"),
    "nci60": ("expression", (64, 6830), "float64"),
    "diamonds": ("table", (53940, 10), "float64"),
    "toydata-bed": ("alleles", (500, 10000), "int8"),
}


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMSVD_CACHE", str(tmp_path))
    return tmp_path


def fetched(name):
    try:
        return fetch(name)
    except RealDataUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize("data", TABLE.values(), ids=TABLE)
def test_every_row_pins_a_wheel_and_names_a_licence(data):
    assert TABLE[data.name] is data
    assert re.fullmatch("[0-9a-f]{64}", data.sha256)
    assert re.fullmatch(r"[0-9.]+(post\d+)?", data.version)
    assert data.licence
    assert data.note
    assert "/" in data.member


def test_every_wheel_is_used_and_every_matrix_is_expected():
    assert {data.package for data in TABLE.values()} == set(realdata._WHEELS)
    assert set(TABLE) == {*SHAPES, "minilm-layers"}


@pytest.mark.realdata
@pytest.mark.parametrize("name", SHAPES)
def test_a_fetched_group_holds_one_matrix_of_the_stated_shape(name):
    group = zarr.open_group(fetched(name), mode="r")
    variable, shape, dtype = SHAPES[name]
    matrices = {key: array for key, array in group.arrays() if array.ndim > 1}
    assert list(matrices) == [variable]
    assert matrices[variable].shape == shape
    assert matrices[variable].dtype == dtype
    assert len(matrices[variable].metadata.dimension_names) == len(shape)
    assert np.isfinite(matrices[variable][:3]).all()
    assert group.attrs["licence"]


@pytest.mark.realdata
def test_the_layers_of_minilm_are_36_matrices():
    group = zarr.open_group(fetched("minilm-layers"), mode="r")
    shapes = [array.shape for _, array in group.arrays()]
    assert {shape: shapes.count(shape) for shape in shapes} == {
        (384, 384): 24,
        (1536, 384): 6,
        (384, 1536): 6,
    }


@pytest.mark.realdata
def test_missing_cells_of_the_sea_are_a_fill_value_and_not_nan():
    array = zarr.open_group(fetched("ostia"), mode="r")["surface_temperature"]
    assert np.count_nonzero(array[...] == np.float32(1e20)) == 110970
    xarray = pytest.importorskip("xarray")
    decoded = xarray.open_zarr(fetched("ostia"), consolidated=False).surface_temperature
    assert int(decoded.isnull().sum()) == 110970


@pytest.mark.realdata
@pytest.mark.parametrize(
    ("name", "leading"), [("e1", [0.72, 0.069, 0.048]), ("ostia", [0.58, 0.22, 0.07])]
)
def test_leading_modes_of_climate_have_their_known_share_of_variance(name, leading):
    variable, (n_times, *_), _ = SHAPES[name]
    A = zarr.open_group(fetched(name), mode="r")[variable][...].reshape(n_times, -1).astype(float)
    A = A[:, (A < 1e19).all(axis=0)]
    energy = np.linalg.svd(A - A.mean(axis=0), compute_uv=False) ** 2
    assert energy[:3] / energy.sum() == pytest.approx(leading, rel=0.02)


def test_safetensors_are_read_as_written():
    A, B = np.arange(6, dtype="<f4").reshape(2, 3), np.ones((1, 2), "<f2")
    header = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F16", "shape": [1, 2], "data_offsets": [24, 28]},
    }
    text = json.dumps(header).encode()
    content = len(text).to_bytes(8, "little") + text + A.tobytes() + B.tobytes()
    assert np.array_equal(realdata.read_safetensors(content, "a".__eq__)["a"].values, A)
    found = realdata.read_safetensors(content, lambda name: True)
    assert list(found) == ["a", "b"]
    assert found["b"].values.dtype == np.float16


def test_netcdf3_is_read_with_coordinates_and_attributes(tmp_path):
    A = np.arange(6.0).reshape(2, 3)
    with netcdf_file(tmp_path / "a.nc", "w") as file:
        for axis, length in (("time", 2), ("x", 3)):
            file.createDimension(axis, length)
            file.createVariable(axis, "f8", (axis,))[:] = np.arange(length)
        variable = file.createVariable("sst", "f8", ("time", "x"))
        variable[:] = A
        variable.missing_value = 0.5
    found = realdata.read_netcdf3((tmp_path / "a.nc").read_bytes(), "sst")
    assert np.array_equal(found["sst"].values, A)
    assert found["sst"].dims == ("time", "x")
    assert found["sst"].attributes == {"missing_value": 0.5}
    assert found["x"].values.tolist() == [0, 1, 2]


@pytest.mark.parametrize("n_times", [1, 5, 300])  # 300: a tree of more than one leaf
def test_hdf5_chunks_are_those_of_h5py(n_times):
    h5py = pytest.importorskip("h5py")
    A = np.random.default_rng(0).standard_normal((n_times, 4, 3)).astype("f4")
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.create_dataset("time", data=np.arange(n_times, dtype=float), chunks=(1,))
        file.create_dataset("t", data=A, chunks=(1, 4, 3))
    content = buffer.getvalue()
    assert np.array_equal(realdata.hdf5_chunks(content, A.shape, "<f4"), A)
    with pytest.raises(
        ValueError, match=rf"{n_times} of {n_times + 1} chunks of 48 bytes were found"
    ):
        realdata.hdf5_chunks(content, (n_times + 1, 4, 3), "<f4")


def test_genotypes_are_counts_of_the_first_allele():
    # codes from the low bits up: 00 two copies, 01 missing, 10 one, 11 none; a byte per four people
    packed = bytes([0b11_10_01_00, 0b00_00_00_10])
    (alleles,) = realdata.read_bed(b"\x6c\x1b\x01" + packed, n_people=5).values()
    assert alleles.values.T.tolist() == [[2, -1, 1, 0, 1]]
    assert alleles.attributes == {"_FillValue": -1}
    with pytest.raises(ValueError, match="starts with 6c1b01, this one with 6c1b00"):
        realdata.read_bed(b"\x6c\x1b\x00", n_people=5)


def test_digits_and_diamonds_are_tables_of_numbers():
    line = ",".join(["7"] * 784)
    digits = realdata.read_digits(gzip.compress(f"{line},3\n{line},4\n".encode()))
    assert digits["pixels"].values.shape == (2, 784)
    assert digits["label"].values.tolist() == [3, 4]
    text = b'"carat","cut","color","clarity"\n0.5,"Ideal","J","IF"\n'
    assert realdata.read_diamonds(text)["table"].values.tolist() == [[0.5, 4, 0, 7]]


def test_npy_refuses_pickles():
    buffer = io.BytesIO()
    np.save(buffer, np.array([[None]]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        realdata.read_npy(buffer.getvalue(), "x", ("a", "b"))


def wheel_of(content):
    """Bytes of a wheel whose one member is given."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as wheel:
        wheel.writestr(TABLE["toydata-bed"].member, content)
    return buffer.getvalue()


@pytest.fixture
def index(monkeypatch):
    """A stand-in for the package index; counts what it served."""
    served = []
    wheel = wheel_of(b"\x6c\x1b\x01" + bytes(125))

    def download(command, **_):
        folder = command[command.index("--dest") + 1]
        served.append(command[-1])
        (realdata.Path(folder) / "fastlmm-any.whl").write_bytes(wheel)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", download)
    data = replace(TABLE["toydata-bed"], sha256=realdata.hashlib.sha256(wheel).hexdigest())
    monkeypatch.setitem(TABLE, "toydata-bed", data)
    return served


def test_a_fetch_downloads_once_and_leaves_nothing_half_made(cache, index):
    path = fetch("toydata-bed")
    assert fetch("toydata-bed") == path
    assert index == ["fastlmm==0.6.13"]
    array = zarr.open_group(path, mode="r")["alleles"]
    assert array[...].tolist() == [[2]] * 500
    assert array.chunks == (32, 1)
    assert [p.name for p in (cache / "realdata").iterdir()] == [path.name]


def test_a_wheel_that_was_not_reviewed_is_refused(cache, index, monkeypatch):
    monkeypatch.setitem(TABLE, "toydata-bed", replace(TABLE["toydata-bed"], sha256="0" * 64))
    with pytest.raises(
        ValueError, match=rf"fastlmm-any.whl has SHA-256 \w+, reviewed was {'0' * 64}"
    ):
        fetch("toydata-bed")
    assert not list((cache / "wheels").iterdir())


def test_no_index_is_a_reason_and_not_a_fault(cache, monkeypatch):
    def refuse(command, **_):
        return subprocess.CompletedProcess(command, 1, "", "WARNING: x\nERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", refuse)
    with pytest.raises(
        RealDataUnavailable, match=r"could not download eofs==2\.0\.0: ERROR: no network"
    ):
        fetch("eofs-sst")
    assert realdata.main(["fetch", "eofs-sst"]) == 1


def test_a_missing_reader_is_a_reason(cache, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    monkeypatch.setattr(realdata.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RealDataUnavailable, match="pbmc takes h5py to read"):
        fetch("pbmc")


def test_unknown_names_are_refused_with_the_known_ones():
    with pytest.raises(
        ValueError, match=r"no data set is called 'mnits'\. Use one of minilm-tokens"
    ):
        fetch("mnits")


def test_list_prints_every_data_set(capsys):
    assert realdata.main(["list"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(TABLE)
