"""What a run read and wrote, in the words of OpenLineage: a job, a run of it, and data sets with their digests."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from streamsvd.checks.paths import is_url

if TYPE_CHECKING:
    from streamsvd.pipelines.description import Pipeline
    from streamsvd.pipelines.records import StepRecord


class DatasetFact(msgspec.Struct, frozen=True, kw_only=True):
    """A data set: ``"file"`` and a path, or the store of a URL and what follows it; and a digest of what lay there, if it was taken."""

    namespace: str
    name: str
    digest: str = ""


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where the results of a run come from.

    Attributes
    ----------
    namespace, job
        The folder of the pipeline's file, and its name.
    run
        A name that no other run has, a UUID.
    inputs
        Sources of the steps. The digest is that by which a step is made again; models and sources of updates, which know
        their rows themselves, have none.
    outputs
        Results of the steps, by the keys that they were found or made under, and links that lead to a new one.
    """

    namespace: str
    job: str
    run: str
    inputs: tuple[DatasetFact, ...] = ()
    outputs: tuple[DatasetFact, ...] = ()


def lineage_of(
    pipeline: Pipeline,
    run: str,
    steps: Iterable[StepRecord],
    links: Iterable[str],
    digests: Mapping[str, str],
) -> Lineage:
    """The lineage of a run.

    Parameters
    ----------
    pipeline, run
        What was run, and the name of the run.
    steps, links
        What its steps made, and the links that were turned.
    digests
        Of sources, by their names.
    """
    made = list(steps)
    names = {step.name for step in made}
    sources = dict.fromkeys(
        value
        for step in pipeline.steps
        if step.name in names
        for value in step.inputs.values()
        if value in pipeline.sources
    )
    inputs = tuple(
        _fact(pipeline.address(pipeline.sources[name].path), digests.get(name, ""))
        for name in sources
    )
    outputs = [_fact(step.place, step.key) for step in made if step.place]
    outputs += [_fact(link) for link in links]
    folder = str(pipeline.path.parent)
    return Lineage(
        namespace=folder, job=pipeline.name, run=run, inputs=inputs, outputs=tuple(outputs)
    )


def _fact(where: str, digest: str = "") -> DatasetFact:
    if not is_url(where):
        return DatasetFact(namespace="file", name=where, digest=digest)
    parts = urlsplit(where)
    host = parts.netloc.rpartition("@")[2]  # a password is nobody's business
    return DatasetFact(
        namespace=f"{parts.scheme}://{host}", name=parts.path.lstrip("/"), digest=digest
    )
