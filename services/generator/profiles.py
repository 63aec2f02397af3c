"""Profiles: what each server that speaks the OpenAI Images API knows. A request sends nothing that its server does not.

Sources, November 2026: OpenAI's reference of `images.generate`; Azure's page on image generation (the `/openai/v1`
path takes OpenAI's client; the model is the deployment's name); LocalAI's page on image generation;
stable-diffusion.cpp, `examples/server/api.md`; vLLM-Omni, `docs/serving/image_generation_api.md`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, get_args

from shared.image_settings import ProviderProfile

_OPENAI = frozenset({"model", "prompt", "n", "size", "quality", "output_format"})


@dataclass(frozen=True)
class Profile:
    """`sends`: the parameters that the server knows, of those that we have something to say about."""

    sends: frozenset[str]

    def request(self, **parameters: Any) -> Mapping[str, Any]:
        """Of these parameters, those to send: the ones that the server knows, and that have a value."""
        return {name: value for name, value in parameters.items() if name in self.sends and value is not None}


PROFILES: dict[ProviderProfile, Profile] = {
    # GPT image models always answer with b64_json, and refuse `response_format`.
    "openai": Profile(_OPENAI),
    "azure": Profile(_OPENAI),
    # It answers with a URL unless it is told otherwise.
    "localai": Profile(frozenset({"model", "prompt", "n", "size", "response_format"})),
    "sdcpp": Profile(frozenset({"prompt", "n", "size", "output_format"})),
    "vllm": Profile(frozenset({"model", "prompt", "n", "size", "response_format"})),
}
assert set(PROFILES) == set(get_args(ProviderProfile))
