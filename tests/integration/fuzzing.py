"""Runs schemathesis over a service's own description: requests that fit it, nearly fit it, and do not."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.eventually import LIMIT_S, LONG_LIMIT_S

EXAMPLES = 12  # random requests of each operation, beside those at the edges of what the description allows

_CONFIG = """
color = false
continue-on-failure = true
max-stream-events = 1
request-timeout = {limit_s}
suppress-health-check = ["all"]

[headers]
X-API-Key = "{key}"

[generation]
deterministic = true
max-examples = {examples}
with-security-parameters = false

[phases.stateful]
enabled = false

[phases.fuzzing]
operation-ordering = "none"
extra-data-sources.responses = false
error-feedback.enabled = false

[phases.coverage]
operation-ordering = "none"
extra-data-sources.responses = false
"""
"""One run is like the next: nothing is drawn at random, or learnt from answers, some of which hold times."""


async def fuzz(
    url: str,
    directory: Path,
    *,
    key: str,
    known: Mapping[str, Sequence[str | int]],
    config: str = "",
) -> None:
    """Fail with schemathesis' report unless every answer is as described, and no request is answered with a 500.

    `known`: values that exist, by the parameter (such as `path.id`) that takes them every other time. `config`: more
    lines of schemathesis.toml. It works in a directory of its own.
    """
    lines = [_CONFIG.format(key=key, examples=EXAMPLES, limit_s=LIMIT_S)]
    for number, values in enumerate(known.values()):
        lines.append(f"[dictionaries.known{number}]\nvalues = {json.dumps(values)}")
    lines.append("[parameters]")
    lines += [f'"{name}" = {{ dictionary = "known{n}", probability = 0.5 }}' for n, name in enumerate(known)]
    (directory / "schemathesis.toml").write_text("\n".join([*lines, config]))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "schemathesis.cli", "run", f"{url}/openapi.json"),
        cwd=directory,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(LONG_LIMIT_S):
            output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    text = output.decode(errors="replace")
    assert process.returncode == 0, text
    assert "Seed: not used" in text, text  # it was read as meant: a setting it does not know would be passed over
