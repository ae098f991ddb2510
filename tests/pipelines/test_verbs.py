"""Every verb that can be a step: made once, kept, and not made again."""

from __future__ import annotations

import numpy as np
import pytest

import streamsvd
from streamsvd.engine.events import PassStarted
from streamsvd.pipelines.execution import run_pipeline
from streamsvd.pipelines.planning import plan_pipeline
from streamsvd.pipelines.vocabulary import INPUTS
from tests.pipelines.kit import Watch, folder_of_work, made, place_of, run_text, statuses, write

EOF = '[[steps]]\nname = "eof"\nsvd = {source = "a", rank = 3}\n'
STEPS = {
    # verb: path of the source, options, steps before it
    "svd": ("A.npy", "rank = 3, u = true", ""),
    "pca": ("a.zarr", "rank = 3, row_weights = 'y2.npy'", ""),
    "cells": ("counts.npy", 'genes = 3, rank = 2, flavor = "seurat"', ""),
    "update": ("a.zarr", 'model = "M", rank = 3, center = true', ""),
    "verify": ("a.zarr", 'result = "eof"', EOF),
    "top_eigenvectors": ("A.npy", "k = 2", ""),
    "nystrom": ("A.npy", "n_centres = 5", ""),
    "kernel_ridge": ("A.npy", 'y = "y.npy", n_centres = 5', ""),
    "sample_rows": ("A.npy", "size = 10", ""),
    "lstsq": ("A.npy", 'b = "y.npy"', ""),
    "embed": ("g.npy", "dim = 4, step_weights = [0, 1]", ""),
    "cluster": ("blocks", "error = 0.1", ""),
    "compress": ("blocks", "error = 0.1", ""),
    "rate_curve": ("blocks", "errors = [0.1, 0.3]", ""),
}


def test_every_verb_has_a_pipeline_here():
    assert STEPS.keys() == INPUTS.keys()


@pytest.mark.parametrize("verb", STEPS)
def test_a_step_is_made_once(folder, verb):
    np.save(folder / "g.npy", np.eye(30, k=1) + np.eye(30, k=-1))
    np.save(folder / "y2.npy", np.abs(np.load(folder / "y.npy")) + 1)
    np.save(folder / "counts.npy", np.random.default_rng(3).poisson(3.0, (60, 6)))
    path, options, steps = STEPS[verb]
    text = f'[sources.a]\npath = "{path}"\n{steps}[[steps]]\nname = "it"\n{verb} = {{source = "a", {options}}}\n'
    text += '[[publish]]\nstep = "it"\nto = "latest"\n'
    pipeline = write(folder, text)
    plans = {p.step.name: p.plan for p in plan_pipeline(pipeline)}
    assert (plans["it"] is None) == (verb == "verify")
    first = run_pipeline(pipeline)
    assert first.status == "done", first.error
    assert statuses(first)["it"] == "done"
    if plans["it"] is not None:  # with what is saved on the way
        assert first.steps[-1].projected_bytes == plans["it"].projected_bytes
    result = streamsvd.load(folder / "latest")
    assert type(result) is type(streamsvd.load(place_of(first, "it")))
    assert (folder / "latest").resolve() == place_of(first, "it").resolve()
    watch = Watch()
    second = run_pipeline(pipeline, callback=watch)
    assert second.status == "unchanged", second.error
    assert made(second) == []
    assert second.steps[-1].place == first.steps[-1].place
    assert not [e for e in watch.events if isinstance(e, PassStarted)]
    assert not (pipeline.state / "saves" / "it").exists()


@pytest.mark.parametrize("verb", ["cluster", "compress"])
def test_inputs_of_blocks_are_a_matrix_by_its_path(folder, tmp_path, verb):
    np.save(folder / "X.npy", np.random.default_rng(0).standard_normal((50, 10)))
    text = f'[sources.a]\npath = "blocks"\n[[steps]]\nname = "it"\n{verb} = {{source = "a", error = 0.1, inputs = "X.npy"}}\n'
    with folder_of_work(tmp_path):
        assert run_text(folder, text).status == "done"
        assert run_text(folder, text).status == "unchanged"
        np.save(folder / "X.npy", np.random.default_rng(1).standard_normal((60, 10)))
        assert made(run_text(folder, text)) == ["it"]
