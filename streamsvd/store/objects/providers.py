"""Who keeps the objects of a URL, by its scheme: how messages call it, and the variables that lead to it.

What is said of a provider is chosen by the scheme alone, so that nothing is asked of a network to say it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass

INSTALL = "pip install 'streamsvd[object-stores]'"


@dataclass(frozen=True, slots=True)
class Provider:
    """One kind of place that objects are fetched from.

    Attributes
    ----------
    title
        How messages call it.
    schemes
        Beginnings of its URLs.
    credentials
        Variables of the environment that say who asks.
    endpoint
        The variable that leads elsewhere than to the provider's own servers; empty where there is none.
    prefixes
        How all its variables begin.
    bucket
        What the first part of its URLs is.
    """

    title: str
    schemes: tuple[str, ...]
    credentials: tuple[str, ...] = ()
    endpoint: str = ""
    prefixes: tuple[str, ...] = ()
    bucket: str = "bucket"

    @property
    def variables(self) -> str:
        """Its variables, as part of a sentence; empty where there are none."""
        names = [*self.credentials, *([self.endpoint] if self.endpoint else [])]
        return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


PROVIDERS = (
    Provider(
        "S3",
        ("s3", "s3a"),
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"),
        "AWS_ENDPOINT_URL",
        ("AWS_",),
    ),
    Provider(
        "Google Cloud Storage",
        ("gs",),
        ("GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT"),
        prefixes=("GOOGLE_",),
    ),
    Provider(
        "Azure",
        ("az", "azure", "abfs", "abfss", "adl"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY"),
        "AZURE_STORAGE_ENDPOINT",
        ("AZURE_",),
        bucket="container",
    ),
    Provider("a web server", ("http", "https"), bucket="server"),
)


def scheme_of(url: str) -> str:
    """What stands before ``://``, in small letters."""
    return url.partition("://")[0].lower()


def provider_of(url: str) -> Provider | None:
    """Who keeps the objects of a URL; None where that is nobody of these."""
    scheme = scheme_of(url)
    return next((one for one in PROVIDERS if scheme in one.schemes), None)


def bucket_of(url: str) -> str:
    """Bucket, container or server of a URL, with its scheme."""
    scheme, _, rest = url.partition("://")
    return f"{scheme}://{rest.partition('/')[0]}"


def environment_of(provider: Provider) -> tuple[tuple[str, str], ...]:
    """The variables of a provider that are set, sorted."""
    found = {k: v for k, v in os.environ.items() if k.upper().startswith(provider.prefixes)}
    return tuple(sorted(found.items())) if provider.prefixes else ()
