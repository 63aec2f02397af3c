"""What is made of a picture that is no good portrait: nothing, advice beside the answer, or a refusal."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from shared import errors
from shared.errors import PortraitUnfit
from shared.faces import FaceSearch
from shared.portraits import Advice, AdviceCode, Portrait, advise


class FacePolicy(StrEnum):
    """EVENSKIN_FACE_POLICY: what is done about a picture that is no good portrait."""

    OFF = "off"
    WARN = "warn"
    REQUIRE = "require"


class MultipleFaces(StrEnum):
    """EVENSKIN_MULTIPLE_FACES: what is done about a picture with several faces."""

    LARGEST = "largest"
    REFUSE = "refuse"


_REFUSALS: dict[AdviceCode, type[PortraitUnfit]] = {
    AdviceCode.NO_FACE: errors.NoFace,
    AdviceCode.MULTIPLE_FACES: errors.MultipleFaces,
    AdviceCode.FACE_TOO_SMALL: errors.FaceTooSmall,
    AdviceCode.FACE_CUT: errors.FaceCut,
    AdviceCode.FACE_TURNED: errors.FaceTurned,
    AdviceCode.TOO_BLURRY: errors.TooBlurry,
    AdviceCode.TOO_DARK: errors.TooDark,
    AdviceCode.TOO_BRIGHT: errors.TooBright,
}


@dataclass(frozen=True)
class PortraitPolicy:
    """Decides on a picture by what is measured of it.

    With `warn` and `require` everything that is wrong is told. `require` refuses what is told, and `refuse` a picture
    with several faces under either; else the largest face is judged.
    """

    faces: FacePolicy = FacePolicy.WARN
    multiple: MultipleFaces = MultipleFaces.LARGEST

    def check(self, search: FaceSearch) -> None:
        """Raise ConfigurationError where it asks for what is not looked for."""
        refuses_several = self.multiple is MultipleFaces.REFUSE
        if search is FaceSearch.OFF and (self.faces is FacePolicy.REQUIRE or refuses_several):
            asked = "EVENSKIN_MULTIPLE_FACES=refuse" if refuses_several else "EVENSKIN_FACE_POLICY=require"
            raise errors.ConfigurationError(
                f"{asked} needs faces to be looked for, and EVENSKIN_FACES is off.", advice="Set EVENSKIN_FACES=on."
            )
        if self.faces is FacePolicy.OFF and refuses_several:
            raise errors.ConfigurationError(
                "EVENSKIN_MULTIPLE_FACES=refuse refuses nothing while EVENSKIN_FACE_POLICY is off.",
                advice="Set EVENSKIN_FACE_POLICY=warn or require.",
            )

    def judged(self, portrait: Portrait) -> tuple[Advice, ...]:
        """What to tell. Raises a PortraitUnfit with every reason and measure."""
        if self.faces is FacePolicy.OFF:
            return ()
        advice = advise(portrait)
        refused = [reason for reason in advice if self._refuses(reason.code)]
        if refused:
            raise _REFUSALS[refused[0].code](
                refused[0].message,
                reasons=[reason.model_dump(mode="json") for reason in refused],
                portrait=portrait.model_dump(mode="json"),
            )
        return advice

    def _refuses(self, code: AdviceCode) -> bool:
        if code is AdviceCode.MULTIPLE_FACES:
            return self.multiple is MultipleFaces.REFUSE
        return self.faces is FacePolicy.REQUIRE
