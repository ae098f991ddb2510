"""Where results come from: the record of a run names what it read, with digests, and what it wrote."""

from __future__ import annotations

import uuid

import msgspec

from streamsvd.pipelines.lineage import DatasetFact, lineage_of
from streamsvd.pipelines.records import RunLog, StepRecord
from tests.pipelines.kit import CHAIN, SVD, grow, place_of, run_text, write


def test_a_record_names_inputs_and_outputs(folder):
    record = run_text(folder, CHAIN)
    facts = record.lineage
    assert (facts.namespace, facts.job) == (str(folder), "p")
    assert uuid.UUID(facts.run).version == 4
    ((source,), outputs) = facts.inputs, facts.outputs
    assert (source.namespace, source.name) == ("file", str(folder / "a.zarr"))
    assert len(source.digest) == 32
    keys = {s.place: s.key for s in record.steps}
    assert {o.name: o.digest for o in outputs[:3]} == keys
    assert [o.name for o in outputs[3:]] == list(record.published)
    assert place_of(record, "eof").name == keys[str(place_of(record, "eof"))]
    assert RunLog(folder / "p.runs").records() == [record]


def test_a_digest_changes_with_what_is_read_and_with_nothing_else(folder):
    digests = [run_text(folder, CHAIN).lineage.inputs[0].digest for _ in range(2)]
    grow(folder / "a.zarr", 40)
    digests.append(run_text(folder, CHAIN).lineage.inputs[0].digest)
    assert digests[0] == digests[1] != digests[2]


def test_each_run_has_a_name_of_its_own(folder):
    assert run_text(folder, SVD).lineage.run != run_text(folder, SVD).lineage.run


def test_an_address_is_apart_from_its_store_and_without_a_password(folder):
    text = SVD.replace("A.npy", "s3://me:secret@127.0.0.1/deep/a.zarr")
    pipeline = write(folder, text)
    facts = lineage_of(pipeline, "x", [StepRecord(name="eof", verb="svd", status="done")], [], {})
    assert facts.inputs == (DatasetFact(namespace="s3://127.0.0.1", name="deep/a.zarr"),)


def test_records_of_before_have_none(folder):
    run_text(folder, SVD)
    place = folder / "p.runs" / "runs" / "000001.json"
    old = msgspec.json.decode(place.read_bytes())
    del old["lineage"], old["tick"], old["claim"]
    place.write_bytes(msgspec.json.encode(old))
    (record,) = RunLog(folder / "p.runs").records()
    assert (record.lineage, record.tick, record.claim) == (None, "", 0)
