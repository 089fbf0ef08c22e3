"""What AWS's preview of a lifecycle policy says, worked out the slow and plain way from the documentation.

A second telling of the rules: it shares nothing with `core.lifecycle`, so that one can be held against the other.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

from ecrsweep.emulator.registry import StoredImage

_DAY: Final = 86_400.0


def preview(text: str, images: Sequence[StoredImage], now: float) -> list[tuple[StoredImage, int]]:
    """The images that the policy expires now, each with the priority of its rule."""
    rules = sorted(json.loads(text)["rules"], key=lambda rule: rule["rulePriority"])
    found: list[tuple[StoredImage, int]] = []
    for image in images:
        for rule in rules:
            if _selects(rule, image):
                if rule["action"]["type"] == "expire" and image in _marked(rule, images, now):
                    found.append((image, rule["rulePriority"]))
                break
    while True:
        going = {image.digest for image, _ in found}
        needed = {child for image in images if image.digest not in going for child in image.children}
        rest = [(image, rule) for image, rule in found if image.digest not in needed]
        if len(rest) == len(found):
            return rest
        found = rest


def _selects(rule: dict[str, Any], image: StoredImage) -> bool:
    selection = rule["selection"]
    if image.archived != (selection.get("storageClass") == "archive"):
        return False
    if selection["tagStatus"] != "tagged":
        return selection["tagStatus"] == "any" or not image.tags
    patterns = [prefix + "*" for prefix in selection.get("tagPrefixList", ())] + selection.get("tagPatternList", [])
    return bool(image.tags) and all(any(_fits(pattern, tag) for tag in image.tags) for pattern in patterns)


def _fits(pattern: str, tag: str) -> bool:
    return re.fullmatch(".*".join(re.escape(part) for part in pattern.split("*")), tag) is not None


def _marked(rule: dict[str, Any], images: Sequence[StoredImage], now: float) -> list[StoredImage]:
    selection = rule["selection"]
    selected = [image for image in images if _selects(rule, image)]
    if selection["countType"] == "imageCountMoreThan":
        newest_first = sorted(selected, key=lambda image: (-image.pushed_at, image.digest))
        return newest_first[selection["countNumber"] :]
    since = {"sinceImagePushed": "pushed_at", "sinceImageTransitioned": "archived_at", "sinceImagePulled": "pulled_at"}
    limit = now - selection["countNumber"] * _DAY
    moments = [(image, getattr(image, since[selection["countType"]]) or image.pushed_at) for image in selected]
    return [image for image, moment in moments if moment < limit]
