"""All services of a node under one path: `/soap/storage/1`, and `/soap/storage` for the newest."""

from __future__ import annotations

from collections.abc import Iterable
from http import HTTPStatus

from services.soap.framework.endpoint import Endpoint, Environ, StartResponse

ROOT = "/soap"


class Registry:
    """Finds the endpoint of a path; several versions of a service stand side by side."""

    def __init__(self, endpoints: Iterable[Endpoint]) -> None:
        """The endpoints of a node.

        Raises:
            ValueError: two serve the same version of a service.
        """
        self._endpoints: dict[str, Endpoint] = {}
        ordered = sorted(endpoints, key=lambda one: one.contract.version)
        for endpoint in ordered:
            contract = endpoint.contract
            path = f"{ROOT}/{contract.path}/{contract.version}"
            if path in self._endpoints:
                raise ValueError(f"{path} is served twice")
            self._endpoints[path] = self._endpoints[f"{ROOT}/{contract.path}"] = endpoint

    def __call__(self, environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        """Answer a request (PEP 3333)."""
        path = f"{environ.get('SCRIPT_NAME', '')}{environ.get('PATH_INFO', '')}".rstrip("/")
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            status = HTTPStatus.NOT_FOUND
            start_response(f"{status.value} {status.phrase}", [("Content-Length", "0")])
            return []
        return endpoint(environ, start_response)

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that is served."""
        return tuple(sorted(self._endpoints))
