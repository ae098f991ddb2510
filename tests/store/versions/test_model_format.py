"""What a model refuses to read: newer formats, keys that leave it, metadata that promise what is not there."""

from __future__ import annotations

import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from streamsvd import Model, StoreError
from streamsvd.models import repair_model
from streamsvd.store.objects import objects_at
from streamsvd.store.versions import LogEntry, Manifest, ModelStore, check_store
from streamsvd.store.versions.arrays import decode_array, encode_arrays
from streamsvd.store.versions.model_store import log_key
from streamsvd.store.versions.records import (
    FORMAT,
    Head,
    NewerFormatError,
    mark,
    plain_record,
    seal,
    unseal,
)
from tests.faults.model_kit import block_of, files_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "model"
    model = Model.create(path, 3, u=True)
    for i in range(3):
        model.update(block_of(f"b{i}"), f"b{i}")
    return path


def raw(path: Path) -> Any:
    """A sealed record as plain values."""
    return msgspec.json.decode(path.read_bytes().partition(b"\n")[0])


def forged(path: Path, version: int, change: Callable[[Any], None]) -> None:
    """Another manifest with the right checksum, as an attacker or a newer release would write it."""
    store = ModelStore(objects_at(path))
    entry = store.entry(version)
    manifest = path / entry.folder / "manifest.json"
    values = msgspec.json.decode(manifest.read_bytes())
    change(values)
    data = msgspec.json.encode(values)
    manifest.write_bytes(data)
    new = msgspec.structs.replace(entry, manifest=mark(data))
    (path / log_key(version)).write_bytes(seal(new))


# Newer formats ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("which", ["model.json", "log", "manifest"])
def test_a_newer_format_is_refused_and_never_repaired(path: Path, which: str) -> None:
    """An old release must not take what it does not understand for damage."""
    if which == "manifest":

        def change(values: Any) -> None:
            values["format"] = FORMAT + 1
            values["unheard"] = {"of": 1}

        forged(path, 3, change)
    else:
        target = path / ("model.json" if which == "model.json" else log_key(3))
        values = raw(target) | {"format": FORMAT + 1, "unheard": [1]}
        target.write_bytes(seal(values))
    before = files_of(path)
    message = rf"has format {FORMAT + 1}, this version reads up to {FORMAT}. Upgrade streamsvd"
    with pytest.raises(StoreError, match=message):
        Model.open(path)
    with pytest.raises(StoreError, match=message):
        check_store(ModelStore(objects_at(path)))
    with pytest.raises(StoreError, match=message):
        repair_model(path)
    assert files_of(path) == before


def test_unknown_fields_of_this_format_are_damage(path: Path) -> None:
    target = path / log_key(3)
    target.write_bytes(seal(raw(target) | {"unheard": 1}))
    with pytest.raises(StoreError, match=r"log/000000000003.json is damaged.*Run streamsvd repair"):
        Model.open(path)


def of_the_first_format(path: Path) -> None:
    """The model as an earlier release would have written it."""
    told = ("excess", "resolved", "groups")

    def earlier(values: Any) -> Any:
        values["format"] = 1
        values["summary"] = {k: v for k, v in values["summary"].items() if k not in told}
        if "spec" in values:
            values["spec"]["buffer"] = None
        return values

    for version in range(1, Model.open(path).version + 1):
        forged(path, version, earlier)
        entry = earlier(raw(path / log_key(version)))
        (path / log_key(version)).write_bytes(seal(entry))


def test_models_of_the_first_format_are_read_and_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """A summary without what is proved beside the error, and a buffer that was not written down."""
    rows = np.random.default_rng(0).standard_normal((90, 40))
    for name in ("old", "same"):
        model = Model.create(tmp_path / name, 3, buffer=10)
        for i in range(2):
            model.update(rows[30 * i : 30 * (i + 1)], str(i))
    of_the_first_format(tmp_path / "old")
    old, same = Model.open(tmp_path / "old"), Model.open(tmp_path / "same")
    assert check_store(ModelStore(objects_at(tmp_path / "old")))[0] == []
    assert old.spec.buffer is None
    assert (old.summary.excess, old.summary.resolved, old.summary.groups) == (None, None, None)
    assert old.certificate.excess == same.certificate.excess
    assert old.ledger.discarded > 0
    for model in (old, same):
        model.update(rows[60:], "later")
    np.testing.assert_array_equal(old.s, same.s)
    np.testing.assert_array_equal(old.Vh, same.Vh)
    assert old.summary == same.summary
    assert [entry.format for entry in old.versions] == [1, 1, FORMAT]
    assert old.rollback(1).update(rows[30:60], "1").n_absorbed == 30


# Hostile keys -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["../secret", "/etc/passwd", "versions/../../secret", "a b", ""])
def test_keys_in_a_manifest_cannot_leave_the_model(path: Path, key: str) -> None:
    (path.parent / "secret").mkdir()
    whole = encode_arrays({"Vh": np.zeros((3, 6))})
    for name, data in whole.items():
        target = path.parent / "secret" / name.removeprefix("Vh/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)

    def change(values: Any) -> None:
        old = values["arrays"]["Vh"]
        values["arrays"]["Vh"] = key
        files = {k.replace(old, key): m for k, m in values["files"].items()}
        values["files"] = files

    forged(path, 3, change)
    with pytest.raises(StoreError, match="would leave the model or is no name"):
        Model.open(path)
    damage, whole_version = check_store(ModelStore(objects_at(path)))
    assert any("would leave the model" in d.reason for d in damage)
    assert whole_version == 2
    model, _ = repair_model(path)
    assert len(model.blocks) == 2


def test_keys_of_segments_folders_and_blocks_cannot_leave_the_model(path: Path) -> None:
    def change(values: Any) -> None:
        values["segments"] = [{"key": "../x", "hash": 1, "length": 1, "count": 1}]

    forged(path, 3, change)
    with pytest.raises(StoreError, match="would leave the model"):
        Model.open(path)
    entry = raw(path / log_key(2)) | {"folder": "../../etc"}
    (path / log_key(2)).write_bytes(seal(entry))
    with pytest.raises(StoreError, match="would leave the model"):
        Model.open(path, version=2)


def test_collecting_never_removes_what_is_not_the_models(path: Path) -> None:
    """Hostile names in a manifest keep, at worst, what could go."""
    outside = path.parent / "outside"
    outside.write_bytes(b"x")
    (path / "versions" / "000000000001-aaaaaaaaaaaa").symlink_to(path.parent)
    model = Model.open(path)
    for i in range(12):
        model.update(block_of(f"c{i}"), f"c{i}")
    model.collect()
    assert outside.read_bytes() == b"x"
    assert path.parent.is_dir()


# Absurd metadata --------------------------------------------------------------------------------------


def altered(change: Callable[[Any], None], value: np.ndarray | None = None) -> dict[str, bytes]:
    """The objects of an array whose metadata say something else."""
    objects = {
        k.removeprefix("x/"): v
        for k, v in encode_arrays({"x": np.ones((3, 4)) if value is None else value}).items()
        if k.startswith("x/")
    }
    values = msgspec.json.decode(objects["zarr.json"])
    change(values)
    return objects | {"zarr.json": msgspec.json.encode(values)}


def put(*keys: Any) -> Callable[[Any], None]:
    """Set a value deep in the metadata."""

    def change(values: Any) -> None:
        for key in keys[:-2]:
            values = values[key]
        values[keys[-2]] = keys[-1]

    return change


def both(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def change(values: Any) -> None:
        for one in changes:
            one(values)

    return change


CHUNK = ("chunk_grid", "configuration", "chunk_shape")
ABSURD = {
    "a million million entries": both(put("shape", [10**12, 4]), put(*CHUNK, [10**12, 4])),
    "beyond 64 bits": both(put("shape", [10**30, 4]), put(*CHUNK, [10**30, 4])),
    "chunks without number": both(put("shape", [10**12, 4]), put(*CHUNK, [1, 1])),
    "one huge chunk": put(*CHUNK, [10**12, 4]),
    "negative": both(put("shape", [-3, -4]), put(*CHUNK, [1, 1])),
    "a bomb": put("codecs", [{"name": "bytes"}, {"name": "zstd", "configuration": {}}]),
    "a pickle": put("codecs", [{"name": "pickle"}]),
    "another type": put("data_type", "complex128"),
    "no type": put("data_type", "object"),
    "no shape": put("shape", None),
    "text": put("shape", ["a", "b"]),
}


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_metadata_allocate_nothing(what: str) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises((ValueError, TypeError, KeyError, OverflowError)):
        decode_array(altered(ABSURD[what]))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000  # KiB


@pytest.mark.parametrize("what", ABSURD)
def test_absurd_metadata_of_a_model_are_an_error_that_names_the_array(
    path: Path, what: str
) -> None:
    """With checksums that agree: only reading them can tell."""
    store = ModelStore(objects_at(path))
    folder = store.manifest(3).arrays["Vh"]
    target = path / folder / "zarr.json"
    values = msgspec.json.decode(target.read_bytes())
    ABSURD[what](values)
    target.write_bytes(msgspec.json.encode(values))

    def change(manifest: Any) -> None:
        manifest["files"][f"{folder}/zarr.json"] = mark(target.read_bytes())

    forged(path, 3, change)
    with pytest.raises(StoreError, match="Vh cannot be decoded.*Run streamsvd repair"):
        Model.open(path)


def test_chunks_that_a_manifest_leaves_out_are_not_zeros(path: Path) -> None:
    def change(manifest: Any) -> None:
        manifest["files"] = {k: m for k, m in manifest["files"].items() if "/Vh/c/" not in k}

    forged(path, 3, change)
    with pytest.raises(StoreError, match="there are 0"):
        Model.open(path)


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((0, 5)),
        np.zeros(0),
        np.ones(3, dtype=complex),
        np.arange(6.0).reshape(2, 3),
        np.zeros((3, 2)),
        np.array([[1.5]], dtype=np.float32),
    ],
    ids=lambda v: f"{v.dtype}{v.shape}",
)
def test_arrays_come_back_as_they_were(value: np.ndarray) -> None:
    objects = {k.removeprefix("x/"): v for k, v in encode_arrays({"x": value}).items() if "x/" in k}
    found = decode_array(objects)
    assert found.dtype == value.dtype
    np.testing.assert_array_equal(found, value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"1e999",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"version": 1e400}',
        b"{}",
    ],
    ids=lambda d: repr(d[:12]),
)
def test_records_that_are_none_are_damage_that_names_the_key(data: bytes) -> None:
    with pytest.raises(StoreError, match="the/key is damaged"):
        plain_record(data, Head, "the/key")
    with pytest.raises(StoreError, match="the/key is damaged"):
        unseal(data, Head, "the/key")


def test_a_seal_is_of_every_byte() -> None:
    data = seal(Head(7))
    assert unseal(data, Head, "k") == Head(7)
    for i in range(len(data)):
        for bit in range(8):
            torn = data[:i] + bytes([data[i] ^ (1 << bit)]) + data[i + 1 :]
            with pytest.raises(StoreError):
                unseal(torn, Head, "k")
        with pytest.raises(StoreError):
            unseal(data[:i], Head, "k")


def test_marks_tell_chunks_of_one_length_apart() -> None:
    """The crc of data that end with their own crc is the same for all data: a mark must be more than that."""
    chunks = [encode_arrays({"x": np.full((2, 2), float(i))})["x/c/0/0"] for i in range(200)]
    assert len({mark(c) for c in chunks}) == 200


def test_a_newer_format_error_is_a_store_error() -> None:
    with pytest.raises(NewerFormatError):
        plain_record(b'{"format": 99}', Manifest, "k")
    with pytest.raises(NewerFormatError):
        plain_record(b'{"format": 99}', LogEntry, "k")
    assert issubclass(NewerFormatError, StoreError)
