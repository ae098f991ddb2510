"""Absorbing rows keeps the budget: measured in a fresh process, above its imports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from streamsvd.engine.memory import parse_bytes
from streamsvd.testing.spectra import KnownMatrix
from streamsvd.testing.writing import write_known

ROOT = Path(__file__).parents[2]
CHILD = """
import json, sys
import numpy, scipy.linalg, zarr, streamsvd
import streamsvd.models.absorption
from benchmarks.peers import measured
path, model, memory, options = sys.argv[1:]
options = json.loads(options)
done, cost = measured(lambda: streamsvd.update(model, path, memory=memory, **options))
print(json.dumps({"peak": cost["peak_rss_bytes"], "absorbed": done.n_absorbed, "versions": done.versions}))
"""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows")
    write_known(folder / "A.zarr", KnownMatrix("slow", 16_000, 1_000, "float32"))
    return folder / "A.zarr"


@pytest.mark.parametrize(
    ("memory", "options"),
    [
        ("110MiB", {"rank": 20}),
        ("160MiB", {"rank": 20, "center": True, "u": True}),
        ("400MiB", {"rank": 60}),
        pytest.param("300MiB", {"rank": 20, "window": 8000}, marks=pytest.mark.slow),
        pytest.param("300MiB", {"tol": 0.5, "max_rank": 60}, marks=pytest.mark.slow),
        pytest.param("1GiB", {"rank": 100, "u": True}, marks=pytest.mark.slow),
    ],
)
def test_the_peak_of_an_update_stays_within_the_budget(rows, tmp_path, memory, options):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, rows, tmp_path / "m", memory, json.dumps(options)],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["absorbed"] == 16_000
    assert found["peak"] <= parse_bytes(memory)


ONE_MORE = """
import json, sys
import numpy as np, streamsvd
from streamsvd.models import new_rows
from streamsvd.engine.meter import mark_memory, peak_since
rows, width, dtype, memory, options, folder = sys.argv[1:]
rows, width = int(rows), int(width)
rng, cuts, plan_cut = np.random.default_rng(0), [], new_rows.plan_cut

def block(name, count):
    out = np.lib.format.open_memmap(f"{folder}/{name}.npy", "w+", dtype=dtype, shape=(count, width))
    for a in range(0, count, 64):
        out[a : a + 64] = 10 * rng.standard_normal((min(64, count - a), width), dtype="f4")
    return f"{folder}/{name}.npy"

def kept_cut(*arguments, **options):
    cuts.append(plan_cut(*arguments, **options))
    return cuts[-1]

new_rows.plan_cut = kept_cut
model, second = folder + "/m", block("b", rows)
streamsvd.update(model, block("a", 260), block_id="a", memory="8GiB", **json.loads(options))
start = mark_memory()
streamsvd.update(model, second, block_id="b", memory=memory)
print(json.dumps({"peak": peak_since(start), "projected": cuts[-1].projected_bytes}))
"""


@pytest.mark.parametrize(
    ("shape", "dtype", "memory", "options"),
    [
        ((60, 200_000), "f4", "1GiB", {"rank": 5}),
        ((1000, 20_000), "f4", "1GiB", {"rank": 5, "center": True}),
        ((700, 12_000), "f4", "200MiB", {"rank": 10}),
        pytest.param((700, 12_000), "f4", "400MiB", {"rank": 10, "column_weights": [0, 2] * 6000}, marks=pytest.mark.slow),
        pytest.param((20_000, 300), "f8", "1GiB", {"rank": 5, "u": True, "column_weights": [1, 2] * 150}, marks=pytest.mark.slow),
        pytest.param((60, 200_000), "f8", "2GiB", {"rank": 60}, marks=pytest.mark.slow),
        pytest.param((20_000, 300), "f8", "1GiB", {"rank": 5, "u": True}, marks=pytest.mark.slow),
        pytest.param((2000, 12_500), "f4", "600MiB", {"rank": 60}, marks=pytest.mark.slow),
        pytest.param((1300, 11_600), "i2", "1GiB", {"rank": 100}, marks=pytest.mark.slow),
        pytest.param((1300, 16_700), "c16", "1GiB", {"rank": 60, "center": True}, marks=pytest.mark.slow),
        pytest.param((50_000, 500), "c16", "2GiB", {"rank": 100}, marks=pytest.mark.slow),
        pytest.param((43_000, 576), "f4", "300MiB", {"rank": 100, "window": 90_000}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_one_more_block_takes_what_is_projected_and_no_less_than_half(
    tmp_path, shape, dtype, memory, options
):
    done = subprocess.run(
        [sys.executable, "-c", ONE_MORE, *map(str, shape), dtype, memory, json.dumps(options), tmp_path],
        capture_output=True, text=True, cwd=ROOT, timeout=250, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["projected"] / 2 <= found["peak"] <= found["projected"] <= parse_bytes(memory)


MANY = """
import gc, json, sys
import numpy as np, psutil, streamsvd
rng = np.random.default_rng(0)
V = np.linalg.qr(rng.standard_normal((40, 40)))[0]
model = streamsvd.Model.create(sys.argv[1], 5, u=sys.argv[2] == "u")
seen = []
for i in range(int(sys.argv[3])):
    model.update((rng.standard_normal((4, 40)) * 0.8 ** np.arange(40)) @ V, str(i))
    if i % 500 == 499:
        gc.collect()
        seen.append(psutil.Process().memory_info().rss)
error = np.linalg.norm(model.Vh @ model.Vh.T - np.eye(5), 2)
if sys.argv[2] == "u":
    U = np.asarray(model.U)
    error = max(error, np.linalg.norm(U.T @ U - np.eye(5), 2))
damage = [str(d) for d in streamsvd.Model.open(sys.argv[1]).verify()]
print(json.dumps({"seen": seen, "error": error, "damage": damage}))
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
@pytest.mark.parametrize(("kind", "count"), [("plain", 10_000), ("u", 2_000)])
def test_thousands_of_updates_stay_orthonormal_in_constant_memory(tmp_path, kind, count):
    """Ids, which must be remembered, are all that grows: under a kilobyte a block."""
    done = subprocess.run(
        [sys.executable, "-c", MANY, tmp_path / "m", kind, str(count)],
        capture_output=True, text=True, cwd=ROOT, timeout=1400, check=True,
    )  # fmt: skip
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["error"] <= 1e-12
    assert found["damage"] == []
    settled = found["seen"][1]
    assert found["seen"][-1] - settled <= 1024 * (count - 1000) + (4 << 20)
