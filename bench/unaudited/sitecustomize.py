"""A node that writes no audit record, to measure what the record costs; on the path of that node alone."""

from __future__ import annotations

from node.audit.record import Deed
from node.catalog.audit import AuditLedger


def _forget(_ledger: AuditLedger, _deed: Deed) -> None:
    """Leave it out."""


AuditLedger.append = _forget  # type: ignore[method-assign]
