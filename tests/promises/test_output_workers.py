"""What verbs write on a cluster: by whom, through the death of whom, and refused in words where a worker does not see the place."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

import streamsvd
from streamsvd.engine import worker_checks
from streamsvd.engine.worker_checks import workers_of
from streamsvd.errors import StoreError
from streamsvd.store.collections import archive, sinks
from streamsvd.store.writing import row_chunks, rows
from tests.contracts.verbs import files_in
from tests.faults.cluster_kit import processes

B = np.random.default_rng(0).standard_normal((1600, 20)) * np.geomspace(1, 1e-2, 20)
HERE = Path("/proc/self/cwd")
"""An absolute path that each process sees for itself: a folder that is not mounted everywhere."""

per_process = pytest.mark.skipif(not HERE.exists(), reason="no path differs between processes")


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What the verbs take, where every process sees it."""
    root = tmp_path_factory.mktemp("kept")
    zarr.create_array(str(root / "A.zarr"), data=B, chunks=(100, 20))
    zarr.create_array(str(root / "columns.zarr"), data=B, chunks=(1600, 5))
    found = streamsvd.pca(root / "A.zarr", 3, u=True, out=root / "pca")
    fit = streamsvd.kernel_ridge(root / "A.zarr", B[:, 0], n_centres=10, length=3.0, ridge=0.1)
    blocks = {f"x{i}": B[200 * i : 200 * (i + 1)].T.repeat(80, axis=1) for i in range(8)}
    streamsvd.compress(blocks, root / "packed", 0.1)
    group = zarr.create_group(str(root / "many.zarr"))
    for name, values in blocks.items():
        group.create_array(name, data=values, chunks=values.shape)
    A, packed = root / "A.zarr", root / "packed"
    return {
        "project": lambda out: found.transform(A, out=out),
        "reconstruct": lambda out: found.reconstruct(source=A, out=out),
        "residual": lambda out: found.residual(A, out=out),
        "predict": lambda out: fit.predict_to(A, out),
        "convert": lambda out: streamsvd.convert(A, out, chunk_rows=50),
        "convert tiles": lambda out: streamsvd.convert(
            root / "columns.zarr", out, chunk_rows=50, memory=_least_tiles(root)
        ),
        "decompress files": lambda out: streamsvd.decompress(packed, out),
        "decompress group": lambda out: streamsvd.decompress(packed, f"{out}.zarr"),
        "decompress tensors": lambda out: streamsvd.decompress(packed, f"{out}.safetensors"),
        "compress": lambda out: streamsvd.compress(root / "many.zarr", out, 0.05, principal=1),
    }


def _least_tiles(root):
    """Memory in which columns go by way of files."""
    try:
        streamsvd.convert(root / "columns.zarr", root / "never", chunk_rows=50, memory=1000)
    except streamsvd.BudgetError as error:
        return error.needs
    raise AssertionError


VERBS = (
    "project", "reconstruct", "residual", "predict", "convert", "convert tiles", "decompress files", "decompress group",
    "decompress tensors", "compress",
)  # fmt: skip
OFTEN = ("decompress files",)
"""Those that are not tried by other laws, and tried always."""


@pytest.fixture(scope="module")
def client():
    with processes(2) as (_, client):
        yield client


@pytest.fixture(scope="module")
def here_workers():
    """Workers in this process."""
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"
    ) as cluster:
        yield cluster


@pytest.fixture
def blind(client, tmp_path, monkeypatch):
    """The second worker, which is in another folder than this process and the first."""
    worker_checks._look_times.clear()
    (tmp_path / "here").mkdir()
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    first, second = workers_of(client)
    client.run(os.chdir, str(tmp_path / "here"), workers=[first])
    client.run(os.chdir, str(tmp_path / "there"), workers=[second])
    yield second
    client.run(os.chdir, "/")


@per_process
@pytest.mark.parametrize("verb", VERBS)
def test_a_worker_that_does_not_see_the_place_of_the_results_is_refused(kept, verb, blind):
    with pytest.raises(StoreError) as refused:
        kept[verb](HERE / "out")
    text = str(refused.value)
    assert f"at {blind} does not see the place of the results {HERE / 'out'}" in text
    assert "mount the folder there under the same path" in text
    assert files_in(Path()) == []


def die_in_the_middle(marker):
    """In a worker: the first of all that comes to write an array kills its process, which has written something."""
    for kind in (
        sinks.FileSink,
        sinks.GroupSink,
        sinks.TensorSink,
        archive.EditionSink,
        rows.RowsSink,
    ):
        _mortal(kind, marker)
    _mortal(row_chunks.RowChunks, marker)
    _mortal(row_chunks.ColumnTiles, marker)


def _mortal(kind, marker):
    write = kind.write

    def killed(self, *arguments):
        found = write(self, *arguments)
        try:
            os.close(os.open(marker, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    kind.write = killed


@pytest.mark.parametrize(
    "verb", [v if v in OFTEN else pytest.param(v, marks=pytest.mark.slow) for v in VERBS]
)
def test_a_worker_that_is_killed_while_it_writes_costs_time_only(kept, verb, tmp_path):
    for name in ("alone", "there"):
        (tmp_path / name).mkdir()
    kept[verb](tmp_path / "alone" / "out")
    marker = tmp_path / "killed"
    with processes(2) as (_, client):
        client.run(die_in_the_middle, str(marker))
        kept[verb](tmp_path / "there" / "out")
    assert marker.exists()
    assert same_bits(tmp_path / "alone", tmp_path / "there")


SINKS = {
    "project": rows.RowsSink,
    "convert": row_chunks.RowChunks,
    "decompress files": sinks.FileSink,
    "decompress group": sinks.GroupSink,
    "decompress tensors": sinks.TensorSink,
    "compress": archive.EditionSink,
}


@pytest.mark.parametrize("verb", SINKS)
def test_an_error_on_a_worker_leaves_nothing(kept, verb, here_workers, tmp_path, monkeypatch):
    write, calls = SINKS[verb].write, []

    def full(self, *arguments):
        calls.append(arguments)
        if len(calls) > 2:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path))
        return write(self, *arguments)

    monkeypatch.setattr(SINKS[verb], "write", full)
    with Client(here_workers), pytest.raises(OSError, match="No space left"):
        kept[verb](tmp_path / "out")
    kept_on = ".unfinished/" if verb == "convert" else "\0"
    assert [name for name in files_in(tmp_path) if kept_on not in name] == []


def same_bits(one, other):
    """Whether two folders hold the same, the names that are drawn aside."""
    first, second = files_in(one), files_in(other)
    if any("log/" in name for name in first):
        a, b = (streamsvd.open_compressed(place / "out") for place in (one, other))
        assert len(first) == len(second)
        return all(np.array_equal(a[name], b[name]) for name in a) and list(a) == list(b)
    assert first == second
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in first)
