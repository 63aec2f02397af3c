"""The prompt of an order, in the words that dermatology texts use for each severity.

The texts are in `prompts.toml`, or in an operator's file of the same form. Their severities follow, in our words:
acne the FDA's Investigator's Global Assessment (guidance on acne vulgaris, 2018) and the counts of Hayashi et al.
(J Dermatol 2008); redness the Clinician's Erythema Assessment (Tan et al., J Am Acad Dermatol 2014); hyperpigmentation
darkness and area of the MASI (Kimbrough-Green et al., Arch Dermatol 1994); fine lines the wrinkle scale of Fitzpatrick
et al. (Arch Dermatol 1996); aging the Wrinkle Severity Rating Scale (Day et al., Am J Clin Dermatol 2004) and Glogau's
types (1996); textured skin the distances of Goodman and Baron's grades of scars (Dermatol Surg 2006). Of pore size no
scale is agreed on: ours goes by the distance from which pores are seen.
"""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path
from string import Formatter
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from services.generator.provider import Order
from shared.errors import ConfigurationError
from shared.events import UNANSWERED, FailureReason
from shared.message import first_problem
from shared.taxonomy import CLEAR, Condition, Severity, Sex, View

MAX_REASON_CHARACTERS = 200  # of a rejection that a prompt tells; people write at length
MAX_WORDING_CHARACTERS = 4000  # before it is filled in; OpenAI takes 32,000

_ABOUT_NO_PICTURE = frozenset((*FailureReason, UNANSWERED))
"""Reasons of lost attempts that no other picture would mend: a prompt that told them would only confuse. A filter's
refusal is answered by a calmer wording instead."""
_FIELDS = {"age", "sex", "skin_tone", "condition", "severity", "signs", "view", "light"}
_OF_CONDITIONS = {"condition", "severity", "signs"}
_VIEWS = {
    View.FRONTAL: "Facing the camera",
    View.LEFT: "Head turned slightly left",
    View.RIGHT: "Head turned slightly right",
}

Text = Annotated[str, Field(min_length=1, max_length=MAX_WORDING_CHARACTERS)]


Wordings = Annotated[list[Text], Field(min_length=1, max_length=5)]


class Signs(BaseModel):
    """What is to be seen of a condition at each severity."""

    model_config = ConfigDict(extra="forbid")

    mild: Text
    moderate: Text
    severe: Text


class Prompts(BaseModel):
    """The texts that prompts are made of. `clear_wordings`: of skin without any condition.

    `sha256`: hash of the file that they came in.
    """

    model_config = ConfigDict(extra="forbid")

    wordings: Wordings
    clear_wordings: Wordings
    signs: dict[Condition, Signs]
    sha256: str

    @field_validator("wordings")
    @classmethod
    def _say_what_is_to_be_seen(cls, wordings: list[str]) -> list[str]:
        for wording in wordings:
            fields = _fields_of(wording, _FIELDS)
            if "signs" not in fields and not {"condition", "severity"} <= fields:
                raise ValueError("a wording names neither the {signs} nor {condition} and {severity}")
        return wordings

    @field_validator("clear_wordings")
    @classmethod
    def _name_no_condition(cls, wordings: list[str]) -> list[str]:
        for wording in wordings:
            _fields_of(wording, _FIELDS - _OF_CONDITIONS)
        return wordings

    @field_validator("signs")
    @classmethod
    def _leave_no_condition_out(cls, signs: dict[Condition, Signs]) -> dict[Condition, Signs]:
        missing = sorted(set(Condition) - set(signs))
        if missing:
            raise ValueError(f"there are no signs of {missing[0]}")
        return signs

    def prompt_of(self, order: Order) -> str:
        """The prompt of an order. Reasons of earlier rejections become instructions, so that a retry differs."""
        subject = order.subject
        text = self.wordings_for(order)[self.wording_of(order)].format(
            age=subject.age_band.value,
            sex="woman" if subject.sex is Sex.FEMALE else "man",
            skin_tone=subject.skin_tone,
            view=_VIEWS[subject.view],
            light=subject.light.value.replace("_", " "),
            **self._condition_of(order),
        )
        reasons = [told for told in order.earlier_rejections if told.partition(":")[0] not in _ABOUT_NO_PICTURE]
        if not reasons:
            return text
        told = "; ".join(reason[:MAX_REASON_CHARACTERS] for reason in reasons[-3:])
        return f"{text} Earlier pictures were rejected for this: {told}. Avoid that."

    def _condition_of(self, order: Order) -> dict[str, str]:
        """What a wording's fields say of an order's condition; nothing of clear skin."""
        if order.condition is CLEAR or order.severity is None:
            return {}
        severity = order.severity.label
        signs: str = getattr(self.signs[order.condition], severity)
        return {"condition": order.condition.value.replace("_", " "), "severity": severity, "signs": signs}

    def wordings_for(self, order: Order) -> list[str]:
        """The wordings of an order's prompt, the plainest first."""
        return self.clear_wordings if order.condition is CLEAR else self.wordings

    def wording_of(self, order: Order) -> int:
        """The number of the wording: calmer by one for every refusal of this attempt, and every attempt refused."""
        blocked = sum(told.partition(":")[0] == FailureReason.MODERATION_BLOCKED for told in order.earlier_rejections)
        return min(order.refusals + blocked, len(self.wordings_for(order)) - 1)


def _fields_of(wording: str, known: set[str]) -> set[str]:
    """The fields in a wording's braces. Raises ValueError where one is unknown, or the age is missing."""
    fields = {name for _, name, _, _ in Formatter().parse(wording) if name is not None}
    if unknown := fields - known:
        raise ValueError(f"{{{min(unknown)}}} is none of {', '.join(sorted(known))}")
    if "age" not in fields:
        raise ValueError("a wording does not name the {age}: every subject is an adult")
    return fields


def read_prompts(path: Path) -> Prompts:
    """Read and check a file of prompts; one without wordings for clear skin has ours.

    Raises ConfigurationError, which names what is wrong.
    """
    advice = f"Make it like {_OURS.name} of the generator, or leave EVENSKIN_PROMPT_FILE away."
    try:
        data = path.read_bytes()
        document = tomllib.loads(data.decode())
        if "clear_wordings" not in document and path != _OURS:
            document["clear_wordings"] = our_prompts().clear_wordings
        return Prompts.model_validate({**document, "sha256": hashlib.sha256(data).hexdigest()})
    except OSError as error:
        raise ConfigurationError(f"The file of prompts '{path}' cannot be read: {error.strerror}.") from error
    except ValidationError as error:
        raise ConfigurationError(f"The file of prompts '{path}': {first_problem(error)}.", advice=advice) from error
    except ValueError as error:  # of what is no TOML, or no UTF-8
        raise ConfigurationError(f"The file of prompts '{path}' is no TOML: {error}.", advice=advice) from error


_OURS = Path(__file__).with_name("prompts.toml")


@cache
def our_prompts() -> Prompts:
    """The prompts that come with this program."""
    return read_prompts(_OURS)


def prompt_of(order: Order) -> str:
    """The prompt of an order in our words."""
    return our_prompts().prompt_of(order)


assert {severity.label for severity in Severity} == set(Signs.model_fields)
