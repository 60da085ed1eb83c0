"""The files that pages look nice with."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from typing import Final

import falcon

KINDS: Final = {"portal.css": "text/css; charset=utf-8", "portal.svg": "image/svg+xml"}
"""The files there are, and what each is."""


class StaticFiles:
    """Files of the package; nothing else of the disk can be reached by this."""

    for_strangers = True

    def __init__(self) -> None:
        """Read all of them, once."""
        folder = files("services.portal") / "static"
        self._files = {name: (folder / name).read_bytes() for name in KINDS}

    def on_get(self, req: falcon.Request, resp: falcon.Response, name: str) -> None:
        """Give one, unless the browser has it (RFC 9110 13.1.2)."""
        content = self._files.get(name)
        if content is None:
            raise falcon.HTTPNotFound
        digest = hashlib.sha256(content).hexdigest()[:16]
        resp.etag = digest
        resp.cache_control = ["no-cache"]
        if digest in (req.if_none_match or ()):
            resp.status = falcon.HTTP_304
            return
        resp.content_type = KINDS[name]
        resp.data = content
