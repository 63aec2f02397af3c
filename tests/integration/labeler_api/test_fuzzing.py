"""labeler-api against requests that schemathesis makes up from its description."""

from __future__ import annotations

from pathlib import Path

from tests.integration.fuzzing import fuzz
from tests.integration.labeler_api.support import labeler
from tests.unit.model_server.tiny_model import put_model

KEY = "secret"
CONFIG = """
# What these ask for beyond the shape of their parts a schema does not say: a target at all, a condition's severity,
# a picture's bytes, a known condition.
[[operations]]
include-name = ["GET /v1/plan", "POST /v1/rebalances", "GET /v1/images", "POST /v1/images"]
checks.positive_data_acceptance.enabled = false

# Each review of many has a result of its own, also one that is no review.
[[operations]]
include-name = "POST /v1/reviews"
checks.negative_data_rejection.enabled = false

# As much as this machine can make slots for, in this time.
[dictionaries.few]
values = [-1, 0, 1, 3, 100001]

[[operations]]
include-name = "POST /v1/rebalances"
generation.dictionaries.integer = { dictionary = "few", probability = 1.0 }
"""


async def test_labeler_api_answers_as_described_whatever_it_is_asked(tmp_path: Path) -> None:
    work = tmp_path / "schemathesis"
    work.mkdir()
    async with labeler(tmp_path, api_key=KEY) as running:
        running.generator.answer = lambda request: None  # what campaigns ask for is never made
        running.session.headers["X-API-Key"] = KEY
        (image,) = await running.imported(1, condition="acne", severity="mild")
        await running.blobs.put(f"images/{image}/hflip.png", b"flipped")
        await put_model(running.blobs, "v1")
        campaign = await running.rebalance(targets={"redness": 1})
        trained = await running.reaches(await running.rebalance(targets={"acne": 0}), "met")
        known = {
            "path.id": [image, campaign],
            "path.version": ["v1", trained["dataset_version"]],
            "path.file": ["page.js", "style.css", "icon.svg"],
        }
        await fuzz(running.url, work, key=KEY, known=known, config=CONFIG)
