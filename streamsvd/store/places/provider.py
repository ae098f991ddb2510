"""What an object store says that refuses, in words: what was tried, on which bucket and key, and what to check."""

from __future__ import annotations

import re
from typing import Literal

from streamsvd.checks.paths import Url
from streamsvd.errors import StoreError

Doing = Literal["read", "write", "list", "copy", "remove"]

CREDENTIALS = {
    "s3": "AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_REGION (and AWS_ENDPOINT_URL of a store of your own)",
    "gs": "GOOGLE_APPLICATION_CREDENTIALS",
    "az": "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
}
"""Variables of the environment that each provider looks at."""
_STATUS = re.compile(r"status code: ([0-9]{3})([^:<\n]*)")
_CODE = re.compile(r"<Code>([A-Za-z]+)</Code>")
_RETRIES = re.compile(r"after ([0-9]+) retries")
MOST_WORDS = 160


def variables_of(place: Url) -> str:
    """What has to be set for the provider of a place."""
    scheme = place.root.partition("://")[0]
    return CREDENTIALS["s3" if scheme.startswith("s3") else "gs" if scheme == "gs" else "az"]


def provider_error(doing: Doing, place: Url, error: Exception, intact: str = "") -> StoreError:
    """What a provider said as an error that says what to do; nothing of its inside is shown.

    Parameters
    ----------
    doing, place
        What was tried, on which object.
    error
        What obstore raised.
    intact
        What was not lost, as a part of a sentence.
    """
    text = str(error)
    status, code, retries = _STATUS.search(text), _CODE.search(text), _RETRIES.search(text)
    said = code[1] if code else f"{status[1]}{status[2]}".strip() if status else ""
    number, bucket = int(status[1]) if status else 0, place.root
    if said == "NoSuchBucket":
        reason, remedy = f"there is no bucket {bucket}", "Make it, or check its name"
    elif number in (401, 403) or isinstance(error, PermissionError) or "redential" in text:
        reason = f"the store refuses it ({said})" if said else "it needs credentials"
        remedy = f"Set {variables_of(place)}, on workers too, and check the rights on {bucket}"
    elif number == 429 or number >= 500:
        reason = f"the store answered {said or number}"
        remedy = "It is overloaded or down: run again later"
    elif number:
        reason, remedy = f"the store answered {said or number}", f"Check {variables_of(place)}"
    elif isinstance(error, NotImplementedError):
        reason, remedy = "the store does not know such a request", "Choose another place"
    else:
        reason = "no answer" if "error sending request" in text else _first_words(text)
        remedy = f"Check the network, and {variables_of(place)}"
    tries = f" after {int(retries[1]) + 1} tries" if retries and int(retries[1]) else ""
    end = f"; {intact.rstrip('.')}" if intact else ""
    return StoreError(f"cannot {doing} {place}: {reason}{tries}. {remedy}{end}.")


def _first_words(text: str) -> str:
    line = re.sub(r" in [0-9.]+[mun]?s\b.*?- ", ": ", text.partition("\n")[0])
    return line[:MOST_WORDS].strip().rstrip(".")
