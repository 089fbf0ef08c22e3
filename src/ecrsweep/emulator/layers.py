"""The layers and configurations that one emulated repository has, and how long it has them.

ECR checks at a push that every layer of a manifest was uploaded to the repository (`LayersNotFoundException`), and
charges a layer once however many images share it. That it keeps a layer for a while after its last image is gone is
observed, and how long is nowhere documented: here it is a setting.
https://docs.aws.amazon.com/AmazonECR/latest/APIReference/API_PutImage.html
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ecrsweep.emulator import manifests
from ecrsweep.emulator.clock import Clock


@dataclass
class _Layer:
    """`content` is None for a layer that is made up: a manifest names it, and nobody ever uploaded it."""

    content: bytes | None = None
    images: int = 0
    left_at: float = 0.0


class Layers:
    """The layers of one repository.

    Worlds are mostly built of manifests alone. So until something is uploaded to a repository, any layer counts as
    there; from then on, only one that was uploaded, or that an image pushed straight into the state brought along.
    A layer stays while an image has it, and for a while after; then it is gone, made up or not.
    """

    def __init__(self, clock: Clock, stay: Callable[[], float]) -> None:
        """`stay` says for how many seconds a layer stays that no image has."""
        self._clock, self._stay = clock, stay
        self._known: dict[str, _Layer] = {}
        self._uploaded = False

    def upload(self, content: bytes) -> str:
        """Take a layer in; its digest."""
        digest = manifests.digest_of(content)
        layer = self._known.setdefault(digest, _Layer())
        layer.content, layer.left_at = content, self._clock.seconds
        self._uploaded = True
        return digest

    def content(self, digest: str) -> bytes | None:
        """The bytes of a layer; None for one that is not there, or is made up."""
        return self._known[digest].content if digest in self._known and self._is_here(digest) else None

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Those of the layers that a push would be refused for."""
        return [digest for digest in digests if not self._is_here(digest)]

    def taken(self, digests: Iterable[str]) -> None:
        """An image that has these layers is here."""
        for digest in digests:
            self._known.setdefault(digest, _Layer()).images += 1

    def left(self, digests: Iterable[str]) -> None:
        """An image that had these layers is gone."""
        for digest in digests:
            layer = self._known[digest]
            layer.images -= 1
            layer.left_at = self._clock.seconds

    def expire(self) -> None:
        """Let the layers go that no image has, however short a time ago it had them."""
        for layer in self._known.values():
            if not layer.images:
                layer.content, layer.left_at = None, float("-inf")

    def _is_here(self, digest: str) -> bool:
        layer = self._known.get(digest)
        if layer is None:
            return not self._uploaded
        return layer.images > 0 or self._clock.seconds - layer.left_at <= self._stay()
