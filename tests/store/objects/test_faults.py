"""What is said of a fault is chosen by the text of the client and the scheme of the URL; nothing is asked of a network."""

from __future__ import annotations

import pytest

import streamsvd
from streamsvd.errors import StoreError
from streamsvd.store.objects.faults import fault_words
from streamsvd.store.objects.providers import PROVIDERS, bucket_of, provider_of
from streamsvd.store.objects.where import objects_at

HTTP = "Error performing GET {} in 6.5s, after 6 retries, max_retries: 6, retry_timeout: 60s  - HTTP error: error sending request\n\nDebug source:\n"
STATUS = "Error performing GET u in 12ms - Server returned non-2xx status code: {}: <Error><Code>{}</Code></Error>"
TEXTS = {
    "credentials of S3": (HTTP.format("http://169.254.169.254/latest/api/token"), "needs credentials"),
    "credentials of Google": (HTTP.format("http://metadata.google.internal/computeMetadata"), "needs credentials"),
    "half of them": ("Generic S3 error: Missing SecretAccessKey", "not whole or not taken"),
    "a wrong one": (STATUS.format("403 Forbidden", "SignatureDoesNotMatch"), "SignatureDoesNotMatch"),
    "no bucket": (STATUS.format("404 Not Found", "NoSuchBucket"), "there is no"),
    "403": (STATUS.format("403 Forbidden", "AccessDenied"), "does not allow it (403 AccessDenied)"),
    "503": (STATUS.format("503 Unavailable", "SlowDown"), "answers 503 SlowDown"),
    "400": (STATUS.format("400 Bad Request", "AuthorizationHeaderMalformed"), "answers 400 AuthorizationHeaderMalformed"),
    "no such host": (HTTP.format("u") + "dns error: failed to lookup address", "no known address, 7 tries in 6.5 s"),
    "refused": (HTTP.format("u") + "kind: Connect ConnectionRefused", "connection is refused, 7 tries"),
    "a certificate": (HTTP.format("u") + "invalid peer certificate: UnknownIssuer", "certificate of its server"),
    "a hang": (HTTP.format("u") + "kind: Timeout", "gave no answer in time, 7 tries"),
    "a reset": (HTTP.format("u") + "kind: Interrupted ConnectionReset", "broke off"),
    "something new": ("Generic S3 error: the moon is full.\n\nDebug source: Moon", "the moon is full"),
}  # fmt: skip
URLS = ["s3://bkt/A.zarr", "gs://bkt/A.zarr", "az://box/A.zarr", "abfss://box/A.zarr", "https://host.example/A.zarr"]  # fmt: skip


@pytest.mark.parametrize("url", URLS)
@pytest.mark.parametrize("case", TEXTS)
def test_the_words_are_of_the_fault_and_the_variables_of_the_provider(case: str, url: str) -> None:
    text, words = TEXTS[case]
    provider = provider_of(url)
    assert provider is not None
    reason, remedy = fault_words(text, url, provider)
    if provider.credentials or (
        "redentials" not in case and case not in ("half of them", "a wrong one")
    ):
        assert words in reason
    assert "Debug" not in reason + remedy
    assert "\n" not in reason + remedy
    assert remedy.endswith(".")
    for other in PROVIDERS:
        for prefix in other.prefixes:
            assert (prefix in remedy) == (other is provider)


def test_buckets_and_providers_are_read_from_the_url() -> None:
    assert bucket_of("s3://bkt/a/b.zarr") == "s3://bkt"
    assert provider_of("memory://x") is None
    assert provider_of("zip::s3://bkt/x.zip") is None
    assert provider_of("S3://bkt") is provider_of("s3://bkt")


@pytest.mark.parametrize("url", ["foo://x/y", "memory://x", "zip::s3://bkt/x.zip"])
def test_other_kinds_of_urls_hold_no_objects(url: str) -> None:
    with pytest.raises(StoreError, match=r"is a URL of the unknown kind .*s3://, gs://, az://, http:// are known") as caught:  # fmt: skip
        objects_at(url)
    assert "Debug" not in str(caught.value)


def test_the_extra_is_named_where_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(StoreError, match=r"pip install 'streamsvd\[object-stores\]'"):
        objects_at("s3://bkt-that-nobody-opened/x")


@pytest.mark.parametrize(
    "url",
    [
        "s3://bkt/exp?3",
        "s3://bkt/A.npy?versionId=V1",
        "s3://bkt/exp#2",
        "s3://bkt/a%20b",
        "s3://bkt/x/../A.zarr",
        "s3://name:secret@bkt/A.zarr",
        "http://127.0.0.1:9/A.npy?token=x",
    ],
)
def test_a_url_that_would_be_taken_for_another_is_refused(url):
    """A client drops queries and fragments, and decodes names: it would read another object, without a word."""
    with pytest.raises(StoreError) as caught:
        streamsvd.open(url)
    assert "another object would be read" in str(caught.value) or "***@bkt" in str(caught.value)
    assert "secret@" not in str(caught.value)
