import pytest


@pytest.fixture(scope="session")
def cache(tmp_path_factory):
    """Data sets of the benchmarks go to a folder of this session, in measured processes too."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMSVD_CACHE", str(folder))
        patch.delenv("STREAMSVD_BENCH_SIZE", raising=False)
        yield folder
