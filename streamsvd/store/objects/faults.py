"""What a store of objects, or the way to it, says of a request, as a sentence that names bucket, key and what to set.

The client tells the kinds of its errors apart in its text alone, whose first line is for people and whose rest, a picture
of its own structures, is not shown.
"""

from __future__ import annotations

import re
from typing import Any, Literal

from streamsvd.errors import StoreError
from streamsvd.store.objects.providers import Provider, bucket_of, provider_of

Action = Literal["read", "write", "list", "remove"]

CREDENTIAL_PLACES = (
    "/latest/api/token",
    "/latest/meta-data",
    "metadata.google.internal",
    "/oauth2/token",
    "/identity/",
)
"""Parts of addresses at which a client looks for credentials where the environment has none."""
BAD_CREDENTIALS = (
    "MissingAccessKeyId",
    "MissingSecretAccessKey",
    "Missing AccessKeyId",
    "Missing SecretAccessKey",
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "Unauthenticated",
    "401 Unauthorized",
    "Account must be specified",
)
CODES = {
    403: "AccessDenied",
    429: "too many requests",
    500: "an error of its own",
    502: "a gateway without an answer",
    503: "slow down, or not available",
    504: "a gateway without an answer",
}


def is_absent(error: BaseException) -> bool:
    """Whether an error says that there is no such object, and its bucket is there."""
    absent = isinstance(error, FileNotFoundError) or "NotFoundError" in _obstore_classes(error)
    return absent and "NoSuchBucket" not in str(error)


def is_denial(error: BaseException | None) -> bool:
    """Whether an error says that something may not be read, or is not there: some stores do not tell which."""
    return error is not None and "status code: 403" in str(error) and "AccessDenied" in str(error)


def is_fault(error: BaseException) -> bool:
    """Whether an error is one of the client of stores of objects."""
    return bool(_obstore_classes(error)) or "Debug source" in str(error)


def _obstore_classes(error: BaseException) -> list[str]:
    """Names of the classes of an error that are the client's; it need not be installed to tell."""
    return [c.__name__ for c in type(error).__mro__ if c.__module__.partition(".")[0] == "obstore"]


def store_error(error: BaseException, doing: Action, url: str, key: str = "") -> StoreError:
    """An error of the client as a sentence.

    Parameters
    ----------
    error
        What it raised.
    doing
        What was tried.
    url
        Where.
    key
        Of the object; empty for the place as a whole.
    """
    if isinstance(error, StoreError):
        return error
    provider = provider_of(url) or Provider("the store", ())
    what = f"{key!r} of {url}" if key else url
    if doing == "list" and not provider.credentials:
        return StoreError(
            f"cannot list {what}: a web server cannot be listed. Name the array with variable=, or give its own address; "
            "zarr.consolidate_metadata writes down what a group holds."
        )
    reason, remedy = fault_words(str(error), url, provider)
    kept = " What was committed is intact." if doing in ("write", "remove") else ""
    return StoreError(f"cannot {doing} {what}: {reason}. {remedy}{kept}")


def fault_words(text: str, url: str, provider: Provider) -> tuple[str, str]:
    """Why a request failed, and what to do, from the text of an error."""
    bucket, variables, tries = bucket_of(url), provider.variables, _tries(text)
    kind = provider.bucket
    look = f"the network, and {variables}" if variables else "the address and the network"
    if "NoSuchBucket" in text:
        return f"there is no {kind} {bucket}", _remedy(f"Check that the {kind} exists", variables)
    if provider.credentials and any(place in text for place in CREDENTIAL_PLACES):
        return f"{bucket} needs credentials, and none were found", f"Set {variables}."
    if code := next((sign for sign in BAD_CREDENTIALS if sign in text), ""):
        if not provider.credentials:
            return f"{bucket} asks who reads it ({code})", "Fetch it, and pass the path."
        return (
            f"the credentials for {bucket} are not whole or not taken ({code})",
            f"Set {variables}.",
        )
    if found := re.search(r"status code: (\d{3})", text):
        return _status_words(int(found[1]), text, bucket, variables, tries)
    if provider.credentials and "non-partial response when range requested" in text:
        return (
            "the object is damaged, as an empty one is, or the store ignores requests for a range of bytes",
            "Restore it from a copy.",
        )
    if re.search("RangeNotSupported|Range request not supported", text):
        return (
            "the server ignores requests for a range of bytes and sends the whole",
            "Fetch it and pass the path, or serve it by one that heeds Range.",
        )
    for pattern, reason in BROKEN_WAYS:
        if re.search(pattern, text, re.IGNORECASE):
            return f"{reason}{tries}", f"Check {look}, and run again."
    first = text.partition("\n")[0].strip().rstrip(".")
    return first or "it gave no reason", _remedy("Check the address", variables)


BROKEN_WAYS = (
    ("dns error|failed to lookup|Name or service not known", "its server has no known address"),
    ("certificate", "the certificate of its server is not trusted"),
    ("ConnectionRefused|Connection refused", "nothing answers there, the connection is refused"),
    ("kind: Timeout|TimedOut", "it gave no answer in time"),
    (
        "ConnectionReset|IncompleteBody|kind: (Interrupted|Body|Decode)",
        "the connection broke off before all had come",
    ),
    ("kind: (Connect|Request)", "there is no connection to it"),
)
"""Parts of the text of an error, the first that is there, and what they mean."""


def _remedy(what: str, variables: str) -> str:
    return f"{what}, and {variables}." if variables else f"{what}."


def _status_words(
    status: int, text: str, bucket: str, variables: str, tries: str
) -> tuple[str, str]:
    """What an answer with a status that is an error means."""
    code = re.search(r"<Code>(\w+)</Code>", text)
    said = f"{status} {code[1] if code else CODES.get(status, '')}".strip()
    if status == 403:
        who = f"who is meant by {variables}" if variables else "everybody"
        return f"{bucket} does not allow it ({said})", f"Give the right to {who}."
    if status >= 500 or status == 429:
        led = f" {variables} led there." if variables else ""
        return (
            f"{bucket} answers {said}{tries}",
            f"It is overloaded or down: run again later.{led}",
        )
    return f"{bucket} answers {said}{tries}", _remedy("Check the address", variables)


def _tries(text: str) -> str:
    """How often it was tried, as part of a sentence."""
    found = re.search(r"in ([\d.]+)(ms|µs|s), after (\d+) retries", text)
    if found is None:
        return ""
    seconds = float(found[1]) * {"s": 1.0, "ms": 1e-3, "µs": 1e-6}[found[2]]
    return f", {int(found[3]) + 1} tries in {seconds:.1f} s"


def raise_fault(error: BaseException, doing: Action, url: str, key: str = "") -> None:
    """Raise the sentence of an error, or of one that it came of, if that is one of the client.

    Raises
    ------
    StoreError
        With the sentence.
    """
    found: Any = error
    while found is not None:
        if isinstance(found, StoreError):
            raise found
        if is_fault(found):
            raise store_error(found, doing, url, key) from error
        found = found.__cause__ or found.__context__
