"""Tensors of safetensors files."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from streamsvd.errors import ShapeError, SpecError, StoreError
from streamsvd.store.collections import write_collection
from streamsvd.store.sources import open_source
from streamsvd.testing import assert_source

A = np.arange(13 * 7.0).reshape(13, 7)


def write(path, kind, **arrays):
    write_collection(path, {n: (kind, a.shape) for n, a in arrays.items()}, arrays.items())
    return path


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int8", "uint16", "int64"])
def test_any_rectangle_is_the_one_of_the_tensor(tmp_path, kind):
    path = write(tmp_path / "a.safetensors", kind, bias=A[0], x=A.astype(kind))
    assert_source(path, A.astype(kind))
    cube = write(tmp_path / "b.safetensors", kind, x=A[:12].reshape(3, 4, 7).astype(kind))
    assert_source(
        open_source(cube, rows=(0, 2)),
        A[:12].reshape(3, 4, 7).transpose(0, 2, 1).reshape(21, 4).astype(kind),
    )


def test_bfloat16_is_read_as_float32(tmp_path):
    values = np.random.default_rng(0).standard_normal((40, 30)).astype("f4")
    path = write(tmp_path / "a.safetensors", "bfloat16", x=values)
    wanted = values.view(np.uint32) & 0xFFFF0000
    source = open_source(path)
    out = np.empty((40, 30), "f4")
    source.read(slice(0, 40), slice(0, 30), out)
    assert (np.abs(out - wanted.view("f4")) <= 2.0**-7 * np.abs(values)).all()
    assert not (out.view(np.uint32) & 0xFFFF).any()
    assert_source(source, out)
    assert_source(open_source(path, rows=1), out.T)


@pytest.mark.slow
def test_what_a_read_takes_beside_its_place_is_bounded(tmp_path):
    path = write(tmp_path / "a.safetensors", "bfloat16", x=np.full((4096, 1024), 1.5, "f4"))
    code = f"""
import resource, numpy as np
from streamsvd.store.sources import open_source
source = open_source({str(path)!r})
out = np.ones((1024, 1024), 'f4')
source.read(slice(0, 1), slice(0, 1), out[:1, :1].copy())
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for start in range(0, 4096, 1024):
    source.read(slice(start, start + 1024), slice(None), out)
    assert (out == 1.5).all()
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024, source.read_bytes)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    grown, allowed = map(int, done.stdout.split())
    assert grown <= allowed + (1 << 20)


def test_what_is_no_matrix_is_refused_with_what_there_is(tmp_path, read):
    path = write(tmp_path / "a.safetensors", "float32", bias=A[0], x=A, y=A)
    with pytest.raises(SpecError, match="several matrices: 'x', 'y'"):
        open_source(path)
    with pytest.raises(SpecError, match="no tensor 'w'; it holds 'bias', 'x', 'y'"):
        open_source(path, "w")
    with pytest.raises(ShapeError, match="1 dimension"):
        open_source(path, "bias")
    source = open_source(path, "x")
    os.utime(path, ns=(1, 1))
    with pytest.raises(StoreError, match=f"{path} has changed since it was opened"):
        read(source)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(StoreError, match="no whole safetensors file"):
        open_source(path)
    (tmp_path / "b.safetensors").write_bytes(
        b"\x40\0\0\0\0\0\0\0"
        + b'{"x":{"dtype":"F8_E4M3","shape":[2,2],"data_offsets":[0,4]}}'.ljust(64)
        + b"abcd"
    )
    with pytest.raises(SpecError, match="F8_E4M3"):
        open_source(tmp_path / "b.safetensors", "x")
