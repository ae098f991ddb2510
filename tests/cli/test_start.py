"""T10: the command line is there at once, and what it does not need is not imported."""

from __future__ import annotations

import json
import subprocess
import sys
import time

HEAVY = ("distributed", "dask", "zarr", "cupy", "matplotlib", "numpy", "scipy", "rich")
IMPORTED = (
    "import sys, json\n"
    "from streamsvd.cli import app\n"
    "code = app.run(['--help'])\n"
    "print(json.dumps([code, sorted(m for m in sys.modules if '.' not in m)]))"
)


def test_help_imports_nothing_but_click() -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, check=True
    )
    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0
    assert not set(HEAVY) & set(modules)


def test_help_of_every_verb_imports_nothing_heavy() -> None:
    for verb in ("info", "plan", "report", "svd", "pca", "verify", "rates", "demo"):
        script = IMPORTED.replace("'--help'", f"{verb!r}, '--help'")
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        )
        code, modules = json.loads(done.stdout.splitlines()[-1])
        assert code == 0
        assert not set(HEAVY) & set(modules), verb


def test_help_takes_at_most_half_a_second() -> None:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "streamsvd.cli", "--help"], stdout=subprocess.DEVNULL, check=True
        )
        return time.perf_counter() - began

    assert min(once() for _ in range(5)) <= 0.5


def test_no_arguments_is_wrong_usage_and_shows_the_verbs(run) -> None:
    done = run()
    assert done.code == 2
    assert done.out == ""
    for verb in ("info", "plan", "svd", "pca", "verify", "demo"):
        assert f"\n  {verb} " in done.err


def test_version_is_that_of_the_package(run) -> None:
    from streamsvd import __version__

    assert run("--version").out == f"streamsvd, version {__version__}\n"
