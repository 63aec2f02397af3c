"""The procedural provider's drawing: parametric close-up portraits with skin conditions.

A STAND-IN. These pictures exist so that the whole loop (generate, review, augment, train, serve) can be tried and
tested without a key, a network or a photograph of anybody. They are stylised drawings, not dermatology: a model
that is trained on them has learned these drawings, and is not for people.

`draw` is the public entry. The way of one picture:

    traits      who is drawn and how it was photographed, sampled from the subject and the seed
    pose        the head's frame: face units to pixels
    skin        maps of melanin, blood, relief, gloss: what conditions and nuisances write to
    conditions  acne, redness, pores, texture, pigmentation, lines and folds, written to those maps
    features    eyes, brows, nose, mouth, painted on the skin
    lighting    normals from the relief, diffuse light and highlights
    hair, scene, nuisances, camera   all that is around and in front of the skin, and the photograph's own faults
"""

from services.generator.procedural.draw import Subject, draw

__all__ = ["Subject", "draw"]
