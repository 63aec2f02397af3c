"""Judges a prepared picture as a portrait: which face counts, and what is measured of it."""

from __future__ import annotations

from shared.frames import Face, frame_of
from shared.framing import main_face
from shared.portraits import Portrait, measure_whole
from shared.preprocessing import Prepared


def judged_face(prepared: Prepared) -> Face | None:
    """The face that is judged, in pixels of the whole upright picture, rounded; None without one."""
    width, height = prepared.frame.width, prepared.frame.height
    face = prepared.frame.face or main_face(prepared.faces or (), width, height)
    return None if face is None else frame_of(face, width, height).face


def portrait_of(prepared: Prepared) -> Portrait | None:
    """What is measured of a prepared picture; None where nobody looked for a face."""
    if prepared.faces is None:
        return None
    face = main_face(prepared.faces, prepared.frame.width, prepared.frame.height)
    return measure_whole(prepared.upright, prepared.decoded.scale, prepared.faces, face)
