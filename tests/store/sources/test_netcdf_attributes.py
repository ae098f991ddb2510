"""What is read of a file is what xarray decodes of it, for all types and attributes, or it is refused in words."""

from __future__ import annotations

import itertools
import warnings

import numpy as np
import pytest

from streamsvd.errors import SpecError
from streamsvd.store.sources import open_source

h5py = pytest.importorskip("h5py")
xr = pytest.importorskip("xarray")
pytest.importorskip("h5netcdf")

TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8", ">f4", ">i2")
FILLS = (
    {},
    {"_FillValue": 5},
    {"missing_value": 5},
    {"_FillValue": 5, "missing_value": 7},
    {"_FillValue": 5, "missing_value": [5, 7]},
    {"missing_value": [5.0]},
)
SCALES = (
    {},
    {"scale_factor": 0.25},
    {"add_offset": 3.0},
    {"scale_factor": 0.01, "add_offset": -2.0},
    {"scale_factor": np.float32(0.01), "add_offset": np.float32(0.1)},
    {"scale_factor": np.float32(0.5)},
    {"scale_factor": [0.25]},
)
SIGNS = ({}, {"_Unsigned": "true"}, {"_Unsigned": "false"})
OTHERS = ({}, {"valid_range": [1, 3]})


def _attributes(dtype, fills, scales, signs, others):
    found = {}
    for name, value in {**fills, **others}.items():
        found[name] = np.asarray(value, np.dtype(dtype).newbyteorder("="))
    return {**found, **scales, **signs}


def test_files_are_read_as_xarray_decodes_them(tmp_path):
    path, said = tmp_path / "a.nc", {}
    values = np.arange(-6, 6).reshape(3, 4)
    with h5py.File(path, "w") as file:
        for name in "yx":
            file.create_dataset(name, data=np.arange({"y": 3, "x": 4}[name])).make_scale(name)
        for number, case in enumerate(itertools.product(TYPES, FILLS, SCALES, SIGNS, OTHERS)):
            dtype = np.dtype(case[0])
            told = [bool(part) for part in case[1:]]
            if sum(told) > 2 or (sum(told) == 2 and number % 11) or (case[3] and dtype.kind == "f"):
                continue  # of which next to nothing new is learnt
            name = f"v{number}"
            data = file.create_dataset(name, data=values.astype("i8").astype(dtype))
            data.dims[0].attach_scale(file["y"])
            data.dims[1].attach_scale(file["x"])
            said[name] = _attributes(*case)
            for key, value in said[name].items():
                data.attrs[key] = value
    refused = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of xarray, about what it cannot decode
        decoded = xr.open_dataset(path, engine="h5netcdf")
    with decoded:
        for name, attributes in said.items():
            try:
                source = open_source(path, name)
            except SpecError as error:
                assert any(key in str(error) for key in attributes), error
                refused += 1
                continue
            wanted = decoded[name].values
            found = np.empty(source.shape, source.dtype)
            source.read(slice(0, 3), slice(0, 4), found)
            narrow = any(
                np.asarray(v).dtype == np.float32
                for k, v in attributes.items()
                if k in ("scale_factor", "add_offset")
            )
            rtol = 1e-6 if narrow or wanted.dtype == np.float32 else 0
            np.testing.assert_allclose(
                found, wanted, rtol=rtol, atol=rtol, err_msg=f"{name} {attributes}"
            )
            assert source.dtype.itemsize >= wanted.dtype.itemsize, (name, attributes)
    assert refused < 0.4 * len(said)
