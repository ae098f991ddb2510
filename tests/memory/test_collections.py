"""``measured <= projected <= budget`` for collections, in fresh processes."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

SCRIPT = """
import json, sys
import numpy as np
import streamsvd
from streamsvd.store.collections import open_collection
streamsvd.cluster({"warm": np.ones((4, 2))})
path, backend, memory, out, more = sys.argv[1:]
source = open_collection(path, cut=0)
done = streamsvd.compress(source, out, 0.05, backend=backend, memory=int(memory), **json.loads(more))
i, p = done.info, done.plan
print(json.dumps([i.peak_bytes, i.projected_bytes, p.budget_bytes, len(done.clusters), p.backend]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("backend", "more"),
    [
        ("primal", ()),
        ("propose", ()),
        ("primal", ("inputs",)),
        ("propose", ("inputs",)),
        ("primal", ("principal",)),
        ("primal", ("inputs", "principal")),
        ("primal", ("packed",)),
        ("propose", ("packed",)),
        ("primal", ("packed", "principal")),
        ("primal", ("checkpoint", "save_seconds")),
        ("propose", ("checkpoint", "save_seconds")),
        ("primal", ("principal", "checkpoint", "save_seconds")),
    ],
)
def test_compressing_keeps_the_budget(backend, more, tmp_path):
    import numpy as np

    from streamsvd.collections.planning import BASE_BYTES, needs
    from streamsvd.collections.weights import Weights
    from streamsvd.store.collections import open_collection

    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.standard_normal((500, 4)))[0] for _ in range(10)]
    A = np.stack([bases[i % 10] @ rng.standard_normal((4, 40)) for i in range(400)])
    A[::7] += rng.standard_normal((500, 40))  # some are kept as they are
    place = tmp_path / "a.npy"
    np.save(place, A)
    if "packed" in more:  # in a quarter of the bytes, delivered as float64
        import zarr

        place = tmp_path / "a.zarr"
        scale = float(np.abs(A - 2.0).max()) / 32000
        said = {"scale_factor": scale, "add_offset": 2.0, "_FillValue": -32768}
        codes = np.rint((A - 2.0) / scale).astype("i2")
        zarr.create_array(str(place), data=codes, chunks=(1, 500, 40), attributes=said)
    np.save(tmp_path / "x.npy", rng.standard_normal((20_000, 40)))
    given = {
        "inputs": str(tmp_path / "x.npy"), "principal": 0.2, "checkpoint": str(tmp_path / "saves"), "save_seconds": 0.5,
    }  # fmt: skip
    given = {name: given[name] for name in more if name in given}
    source = open_collection(place, cut=0)
    weights = Weights.of(source, None, None, given.get("inputs"), 0.0)
    held, task = needs(source, backend, keep=True, weights=weights, saving="checkpoint" in given)
    budget = BASE_BYTES + held + 2 * task
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(place), backend, str(budget), str(tmp_path / "c.zarr"), json.dumps(given)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak, projected, allowed, clusters, used = json.loads(done.stdout.splitlines()[-1])
    assert peak <= projected <= allowed == budget
    assert used == backend
    assert clusters >= (2 if "principal" in more else 10)


RATES = """
import json, sys
import numpy as np
import streamsvd
from streamsvd.store.collections import open_collection
streamsvd.rate_curve({"warm": np.ones((4, 2))}, (0.1,))
source = open_collection(sys.argv[1], cut=0)
errors = (0.02, 0.05, 0.2)
try:
    streamsvd.rate_curve(source, errors, memory="1MiB")
except streamsvd.BudgetError as error:
    needs = error.needs
done = streamsvd.rate_curve(source, errors, memory=needs)
i, p = done.info, done.plan
print(json.dumps([i.peak_bytes, i.projected_bytes, p.budget_bytes, needs, len(done.rates[1].merges)]))
"""


@pytest.mark.slow
def test_several_errors_keep_the_smallest_budget_that_works(tmp_path):
    import numpy as np

    rng = np.random.default_rng(0)
    bases = [np.linalg.qr(rng.standard_normal((300, 4)))[0] for _ in range(5)]
    A = np.stack([bases[i % 5] @ rng.standard_normal((4, 40)) for i in range(100)])
    A += 1e-3 * rng.standard_normal(A.shape)
    A[::10] += rng.standard_normal((300, 40))  # some are kept as they are
    np.save(tmp_path / "a.npy", A)
    done = subprocess.run(
        [sys.executable, "-c", RATES, str(tmp_path / "a.npy")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    peak, projected, allowed, needs, merges = json.loads(done.stdout.splitlines()[-1])
    assert peak <= projected <= allowed == needs
    assert merges >= 5
