"""Where a node listens."""

from __future__ import annotations

from dataclasses import dataclass

from node.settings import DicomSettings, NodeSettings, WebSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where a face listens."""

    name: str
    host: str
    port: int


def dicom_doors(settings: DicomSettings) -> list[Door]:
    """Where devices can associate."""
    doors = [Door(name="DICOM", host=settings.host, port=settings.port)]
    if settings.tls_port is not None:
        doors.append(Door(name="DICOM TLS", host=settings.host, port=settings.tls_port))
    return doors


def node_doors(settings: NodeSettings) -> list[Door]:
    """Where other nodes call; nowhere, if nobody is to."""
    if settings.url == "none":
        return []
    return [Door(name="nodes", host=settings.host, port=settings.port)]


def web_doors(settings: WebSettings) -> list[Door]:
    """Where browsers find the portal; nowhere, if nobody is to."""
    if settings.port is None:
        return []
    return [Door(name="portal", host=settings.host, port=settings.port)]
