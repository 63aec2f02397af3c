"""The model-server against requests that schemathesis makes up from its description."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from shared.embedded.blobs import DirectoryBlobs
from tests.integration.fuzzing import fuzz
from tests.unit.model_server.serving import running
from tests.unit.model_server.tiny_model import put_model

KEY = "secret"
CONFIG = """
# That a picture's bytes are a picture, and a tensor's numbers as many as its shape says, a schema does not say.
[[operations]]
include-name = [
    "POST /v1/predictions",
    "POST /v1/predictions/batch",
    "POST /v2/models/{model}/infer",
    "POST /v2/models/{model}/versions/{version}/infer",
]
checks.positive_data_acceptance.enabled = false

# In a batch whatever a field holds is a picture, which is refused by itself.
[[operations]]
include-name = "POST /v1/predictions/batch"
checks.negative_data_rejection.enabled = false
"""


async def test_the_model_server_answers_as_described_whatever_it_is_asked(tmp_path: Path) -> None:
    work = tmp_path / "schemathesis"
    work.mkdir()
    await put_model(DirectoryBlobs(tmp_path / "store"), "v1", at=datetime(2026, 1, 1, tzinfo=UTC))
    async with running(tmp_path, api_key=KEY) as server:
        known = {"path.version": ["v1"], "path.file": ["page.js", "view.js", "style.css"]}
        await fuzz(f"http://127.0.0.1:{server.service.port}", work, key=KEY, known=known, config=CONFIG)
