"""A worker with another file system under the same path, as on a machine where the disk is not mounted: refused, never a number."""

from __future__ import annotations

import os
import shutil
import subprocess

import pytest
from distributed import Client

import streamsvd
from streamsvd.engine.schedulers import use_scheduler
from streamsvd.engine.worker_checks import workers_of
from streamsvd.errors import StoreError
from tests.promises.test_worker_faults import COLLECTION, MATRIX, Y, collection, write
from tests.promises.test_worker_kinds import process, scheduler

pytestmark = pytest.mark.slow
ROOT = () if hasattr(os, "geteuid") and os.geteuid() == 0 else ("--map-root-user",)
HIDE = 'mount -t tmpfs none "$1" && shift && exec "$@"'


def can_hide(folder):
    if shutil.which("unshare") is None:
        return False
    tried = subprocess.run(
        ["unshare", "--mount", *ROOT, "sh", "-c", HIDE, "sh", str(folder), "true"],
        capture_output=True,
        check=False,
    )
    return tried.returncode == 0


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that one of two workers does not see, the address of their scheduler, and the blind one's."""
    folder = tmp_path_factory.mktemp("a mount")
    if not can_hide(folder):
        pytest.skip("this machine lets nobody mount a file system of his own")
    hidden = ("unshare", "--mount", *ROOT, "sh", "-c", HIDE, "sh", str(folder))
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
    with (
        scheduler(folder / "s.json") as address,
        process("worker", address, *options),
        process("worker", address, *options, "--name", "blind", before=hidden),
    ):
        with Client(address) as client:
            client.wait_for_workers(2)
            (blind,) = (w for w, told in workers_of(client).items() if told["name"] == "blind")
        yield folder, address, blind


@pytest.fixture(scope="module")
def model(place):
    """The matrix and the collection there, and what verbs of results need."""
    folder, _, _ = place
    write(folder / "A.zarr")
    collection(folder / "C.zarr")
    streamsvd.update(folder / "V", folder / "A.zarr", rank=3)
    ridge = streamsvd.kernel_ridge(folder / "A.zarr", Y, n_centres=20, length=3.0, ridge=1e-3)
    ridge.save(folder / "krr.npz")
    return streamsvd.pca(folder / "A.zarr", 3)


@pytest.mark.parametrize("missing", ["fill", "error"])
@pytest.mark.parametrize("verb", [*MATRIX, *COLLECTION])
def test_every_verb_refuses_a_worker_with_nothing_there(place, model, monkeypatch, verb, missing):
    del model
    folder, address, blind = place
    monkeypatch.chdir(folder)
    if verb in MATRIX:
        name, A = "A.zarr", streamsvd.open("A.zarr", missing=missing)
    else:
        name, A = "C.zarr", streamsvd.open_collection("C.zarr", missing=missing)
    with use_scheduler(address, None), pytest.raises(StoreError) as refused:
        (MATRIX | COLLECTION)[verb](A)
    text = str(refused.value)
    assert f"worker blind at {blind} does not see {folder / name}" in text
    assert "mount the folder there under the same path" in text
    assert "fill" not in text
    assert not (folder / "c").exists()


MORE = {
    "update": lambda model: streamsvd.update("M", "A.zarr"),
    "verify": lambda model: streamsvd.verify("V", "A.zarr"),
    "top": lambda model: streamsvd.top_eigenvectors("A.zarr", 2, order="random"),
    "sample online": lambda model: streamsvd.sample_rows(
        "A.zarr", oversampling=4.0, method="online"
    ),
    "shuffle": lambda model: streamsvd.shuffle("A.zarr", "S.zarr"),
    "scores": lambda model: model.transform("A.zarr", out="P.zarr"),
    "residual": lambda model: model.residual("A.zarr", out="P.zarr"),
    "predict": lambda model: streamsvd.load("krr.npz").predict_to("A.zarr", "P.zarr"),
}


@pytest.mark.parametrize("verb", MORE)
def test_every_verb_of_results_and_streams_refuses_it_too(place, model, monkeypatch, verb):
    folder, address, blind = place
    monkeypatch.chdir(folder)
    said = rf"worker blind at {blind} does not see {folder}/A.zarr: zarr.json is not there"
    before = sorted(folder.iterdir())
    with use_scheduler(address, None), pytest.raises(StoreError, match=said):
        MORE[verb](model)
    assert sorted(folder.iterdir()) == before


def test_a_run_goes_on_from_a_relative_checkpoint_on_workers_that_see_the_matrix(
    place, model, monkeypatch
):
    del model
    folder, _, _ = place
    monkeypatch.chdir(folder)
    options = ("--no-nanny", "--nthreads", "1", "--no-dashboard", "--host", "127.0.0.1")
    with (
        scheduler(folder / "t.json") as address,
        process("worker", address, *options, "--local-directory", str(folder / "scratch")),
        use_scheduler(None, None),
    ):
        with Client(address) as client:
            client.wait_for_workers(1)
        with use_scheduler(address, None):
            found = streamsvd.svd("A.zarr", 3, u=True, out="R.zarr", checkpoint="save")
    assert streamsvd.load(folder / "R.zarr").U.shape == found.U.shape
    assert not (folder / "scratch" / "R.zarr").exists()
