"""Sources of a pipeline go through steps of their rows; a model keeps what was counted for it."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import PassStarted
from streamsvd.engine.step_counts import PURPOSE
from streamsvd.errors import DescriptionError
from streamsvd.models import Model
from streamsvd.pipelines.planning import plan_pipeline
from tests.engine.test_steps import cells, counts, everything, stored
from tests.pipelines.kit import place_of, run_text, statuses, write

SOURCE = """
[sources.cells]
path = "A.zarr"

[sources.cells.transform]
steps = ["normalize", "log1p"]
"""
TEXT = (
    SOURCE
    + """
[[steps]]
name = "pca"
pca = {source = "cells", rank = 3}

[[steps]]
name = "model"
update = {source = "cells", model = "cells.model", rank = 40}

[[steps]]
name = "proof"
verify = {result = "model", source = "cells"}
"""
)


def counted(seen: list) -> int:
    """Passes that counted."""
    return sum(isinstance(event, PassStarted) and event.purpose == PURPOSE for event in seen)


def test_steps_are_of_the_source_and_its_model_keeps_what_they_counted(tmp_path):
    stored(tmp_path / "A.zarr", counts())
    plans = plan_pipeline(write(tmp_path, TEXT))
    assert next(p.note for p in plans).endswith("for what normalize counts of cells")
    seen: list = []
    found = run_text(tmp_path, TEXT, callback=seen.append)
    assert set(statuses(found).values()) == {"done"}
    X = cells(counts().toarray())
    result = streamsvd.load(place_of(found, "pca"))
    np.testing.assert_allclose(
        result.s, np.linalg.svd(X - X.mean(axis=0), compute_uv=False)[:3], rtol=1e-9
    )
    model = Model.open(tmp_path / "cells.model")
    assert model.row_steps[0].text == result.row_steps[0].text
    np.testing.assert_allclose(
        model.s, np.linalg.svd(X, compute_uv=False)[: model.s.size], rtol=1e-6
    )
    assert counted(seen) == 2  # not for the verification, whose result knows
    seen.clear()
    assert statuses(run_text(tmp_path, TEXT, callback=seen.append))["pca"] == "unchanged"
    assert counted(seen) == 0
    others = TEXT.replace('"normalize",', '"normalize=5",')
    with pytest.raises(DescriptionError, match="step model: the model was made of rows after"):
        run_text(tmp_path, others)
    other = run_text(tmp_path, others.replace("cells.model", "other.model"))
    assert set(statuses(other).values()) == {"done"}
    assert Model.open(tmp_path / "other.model").row_steps[0].text == "normalize=5"


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ('["nothing"]', r"'nothing' is no step. Steps are .* - at \$.sources.cells.transform"),
        ("[]", r"steps are none. Write .* or leave them out - at \$.sources.cells.transform"),
    ],
)
def test_steps_that_cannot_be_meant_are_refused_as_the_file_is_read(tmp_path, steps, said):
    stored(tmp_path / "A.zarr", counts())
    with pytest.raises(DescriptionError, match=said):
        run_text(tmp_path, TEXT.replace('["normalize", "log1p"]', steps))


def test_anomalies_are_of_what_steps_leave(tmp_path):
    """Rows of zarr have no times; the same in Python is by labels."""
    A = counts()
    source = streamsvd.apply_steps(A, "normalize,log1p")
    groups = np.arange(A.shape[0]) % 3
    found = streamsvd.anomalies(source, by=groups)
    X = cells(A.toarray())
    for g in range(3):
        X[groups == g] -= X[groups == g].mean(axis=0)
    np.testing.assert_allclose(everything(found), X, atol=1e-12)
