from __future__ import annotations

from tests.store.objects.test_model_objects import bucket, endpoint  # noqa: F401 - fixtures
