"""The services of the node; what is published in `wsdl/` and served under `/soap`."""

from __future__ import annotations

from services.soap.audit import Audit
from services.soap.catalog import ReplicaCatalog
from services.soap.federation import Federation
from services.soap.framework.service import Service
from services.soap.recovery import Recovery
from services.soap.storage import Storage

SERVICES: tuple[type[Service], ...] = (Storage, ReplicaCatalog, Federation, Recovery, Audit)
"""Every contract, in every major version that is still served."""
