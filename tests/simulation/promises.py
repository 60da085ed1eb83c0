"""A promise that was not kept."""

from __future__ import annotations


class Broken(BaseException):
    """A promise was not kept; no exception of the node, so that nothing of the node catches it."""

    def __init__(self, promise: str, how: str) -> None:
        """Which promise, and how it was broken."""
        super().__init__(f"{promise}: {how}")
        self.promise = promise
        self.how = how
