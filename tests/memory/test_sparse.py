"""``measured <= projected <= budget`` for sparse matrices several times as large as the memory, in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys

import numpy as np
import pytest
import zarr

SCRIPT = """
import json, sys
import numpy as np
import streamsvd
place, verb, memory = sys.argv[1:]
streamsvd.pca(np.eye(40, 6), 2)
A = streamsvd.open(place, "X")
kept = np.arange(A.shape[1]) % 3 > 0 if verb == "mask" else None
done = (streamsvd.svd if verb == "svd" else streamsvd.pca)(A, 4, mask=kept, memory=int(memory))
i = done.info
print(json.dumps([i.peak_bytes, i.projected_bytes, A.stored_bytes, A.nbytes, done.s.tolist()]))
"""
ROWS, COLUMNS, EACH, BUDGET = 240_000, 6000, 120, 96 << 20


def write(path, kind, chunk) -> None:
    """Rows of 120 entries, of which few columns have most of the weight, by blocks."""
    entries = ROWS * EACH
    shapes = {"data": (entries, "f4"), "indices": (entries, "i4"), "indptr": (ROWS + 1, "i8")}
    said = {"encoding-type": "csr_matrix", "encoding-version": "0.1.0", "shape": [ROWS, COLUMNS]}
    if kind == "zarr":
        group = zarr.create_group(path, attributes={"encoding-type": "anndata"}).create_group("X")
        made = {
            name: group.create_array(name, shape=(size,), dtype=dtype, chunks=(min(chunk, size),))
            for name, (size, dtype) in shapes.items()
        }
    else:
        h5py = pytest.importorskip("h5py")
        file = h5py.File(path, "w")
        file.attrs["encoding-type"] = "anndata"
        group = file.create_group("X")
        how = {"compression": "gzip", "compression_opts": 1}
        made = {
            name: group.create_dataset(name, (size,), dtype, chunks=(min(chunk, size),), **how)
            for name, (size, dtype) in shapes.items()
        }
    group.attrs.update(said)
    made["indptr"][:] = np.arange(ROWS + 1, dtype="i8") * EACH
    step = COLUMNS // EACH
    for start in range(0, ROWS, 20_000):
        rng = np.random.default_rng(start)
        places = rng.integers(0, step, (20_000, EACH)) + np.arange(EACH) * step
        values = rng.integers(1, 4, (20_000, EACH)) * (1 + 9 * (places % 97 == 0))
        part = slice(start * EACH, (start + 20_000) * EACH)
        made["indices"][part], made["data"][part] = places.reshape(-1), values.reshape(-1)
    if kind != "zarr":
        file.close()


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "chunk"), [("zarr", 1_000_003), ("h5ad", 20_000)])
def test_a_factorisation_of_a_sparse_matrix_keeps_the_budget(tmp_path, kind, chunk):
    """Of 220 MiB stored, 5.4 GiB with its zeros, within 96 MiB."""
    path = tmp_path / f"a.{kind}"
    write(path, kind, chunk)
    for verb in ("svd", "mask"):
        asked = [sys.executable, "-c", SCRIPT, str(path), verb, str(BUDGET)]
        done = subprocess.run(asked, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        peak, projected, stored, nbytes, _ = json.loads(done.stdout)
        assert nbytes > 20 * stored > 40 * BUDGET
        assert peak <= projected <= BUDGET, (verb, peak, projected)
