"""The settings of a site: `site.toml`, then `KONZILIUM_SECTION__KEY`, read once into frozen values.

`sections` is the one table; `load` reads and checks by it, `text` writes the commented example and
the documentation from it. An unknown, missing or unreadable setting stops the node and is named.
"""

from __future__ import annotations

from node.settings.alerting import AlertSettings
from node.settings.load import FILE, doors, load
from node.settings.people import AuditSettings, LoginSettings, WebSettings
from node.settings.sections import (
    CatalogSettings,
    DicomSettings,
    FederationSettings,
    LogSettings,
    NodeSettings,
    RecoverySettings,
    ReplicationSettings,
    Settings,
    SiteSettings,
    StoreSettings,
    ae_title_of,
)

__all__ = [
    "FILE",
    "AlertSettings",
    "AuditSettings",
    "CatalogSettings",
    "DicomSettings",
    "FederationSettings",
    "LogSettings",
    "LoginSettings",
    "NodeSettings",
    "RecoverySettings",
    "ReplicationSettings",
    "Settings",
    "SiteSettings",
    "StoreSettings",
    "WebSettings",
    "ae_title_of",
    "doors",
    "load",
]
