"""Captions and what five people might have written, with what is hard about them."""

from __future__ import annotations

CAPTIONS = [
    "A man riding a wave on top of a surfboard.",
    "two dogs playing with a red ball in the grass",
    "a plate of food with a fork (and a knife)",
    "It's a \"STOP\" sign; the dog's owner doesn't care",
    "a group of people standing around a kitchen",
    "A train.",
    "a close-up of the U.S. flag, at 5:30 p.m.",
    "a a a a a",
    "a cat | a dog ||| a bird\u2028and a fish\r\nand a cow",
    "?!",
    "",
]

REFERENCES = [
    ["A surfer rides a big wave.", "a man surfing on a wave", "Man on a surfboard, riding a wave"],
    ["Two dogs play with a ball", "dogs running in grass with a red ball in the sun"],
    ["a white plate topped with food and a fork", "A plate (with food) and a knife."],
    ["a stop sign that says stop", "The owner of the dog does not care", "it is a stop sign"],
    ["people standing in a kitchen", "a group of people around a table in a kitchen"],
    ["a train on a track", "a train"],
    ["the flag of the U.S. in the evening", "a flag at 5:30 p.m."],
    ["a photo of a dog"],
    ["a cat, a dog, and a bird", "||| three animals"],
    ["what is it?!", "a sign"],
    ["nothing"],
]
