"""Every form in which a server asks to wait."""

from __future__ import annotations

import math
import time
from email.utils import formatdate

import httpx2
import pytest

from services.generator.retry_after import retry_after_s


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "20"}, 20.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "86400"}, 86400.0),
        ({"retry-after-ms": "1500"}, 1.5),
        ({"retry-after-ms": "1500", "retry-after": "20"}, 1.5),
        ({"retry-after-ms": "soon", "retry-after": "20"}, 20.0),
        ({"date": "Fri, 27 Nov 2026 10:00:00 GMT", "retry-after": "Fri, 27 Nov 2026 10:02:00 GMT"}, 120.0),
        ({"date": "Fri, 27 Nov 2026 10:00:00 GMT", "retry-after": "Friday, 27-Nov-26 10:02:00 GMT"}, 120.0),
        ({"date": "Fri, 27 Nov 2026 10:00:00 GMT", "retry-after": "Fri Nov 27 10:02:00 2026"}, 120.0),
        ({"retry-after": "9" * 400}, math.inf),
        ({"date": "Fri, 27 Nov 2026 10:00:00 GMT", "retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "in a while"}, None),
        ({"retry-after": ""}, None),
        ({}, None),
    ],
)
def test_what_is_asked_for_is_read(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_s(httpx2.Headers(headers)) == seconds


def test_a_date_without_a_date_of_the_answer_counts_from_now() -> None:
    asked = retry_after_s(httpx2.Headers({"retry-after": formatdate(time.time() + 3600, usegmt=True)}))
    assert asked is not None
    assert 3000 < asked <= 3600
