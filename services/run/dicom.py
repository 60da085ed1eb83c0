"""The DICOM process: opens the site and lets devices associate."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path

from node.partners.backup import answered
from node.settings import DicomSettings
from node.wiring import Site, open_site
from services.dicom.associate import Requestor
from services.dicom.commitment import N_ACTION_RQ, Commitment
from services.dicom.committed import Committed
from services.dicom.entity import ApplicationEntity
from services.dicom.messages import Field
from services.dicom.pump import Handler
from services.dicom.query import FederatedFind, Find
from services.dicom.retrieve import Get, Move
from services.dicom.send import Sender
from services.dicom.store import StoreHandler
from services.run.child import GRACE, Report
from services.run.doors import dicom_doors
from services.run.peers import peers_of
from services.run.persons import persons_at_devices
from services.run.reach import Reach

log = logging.getLogger(__name__)


def work(directory: Path, stop: threading.Event, ready: Report) -> None:
    """Listen until told to stop, then let open requests finish."""
    with open_site(directory) as site:
        log.info("leftovers of unfinished writes were removed", extra={"files": site.blobs.sweep()})
        reach = Reach(site, peers_of(site))
        entity = ApplicationEntity(
            site.settings.dicom,
            site.devices,
            handlers(site, reach),
            federated(site, reach),
            persons=persons_at_devices(site),
            person_ca=site.settings.web.person_ca,
        )
        entity.start()
        try:
            ready(dicom_doors(site.settings.dicom))
            stop.wait()
        finally:
            entity.stop(grace=GRACE / 2)


def handlers(site: Site, reach: Reach) -> dict[int, Handler]:
    """What serves each DIMSE request (PS3.7 9.3 and 10.3)."""
    archive, settings = site.archive, site.settings.dicom
    return {
        Field.C_STORE_RQ: StoreHandler(archive),
        Field.C_FIND_RQ: Find(archive, settings.ae_title),
        Field.C_GET_RQ: Get(reach.whole, reach.usual),
        Field.C_MOVE_RQ: Move(reach.whole, site.devices, Sender(requestor(settings)), reach.usual),
        N_ACTION_RQ: Commitment(archive),
        Field.N_EVENT_REPORT_RQ: Committed(partial(answered, site.catalog)),
    }


def federated(site: Site, reach: Reach) -> dict[int, Handler]:
    """What serves those requests otherwise that come by the title of the federation."""
    settings = site.settings.dicom
    title, patience = settings.federation_ae_title, settings.federation_timeout
    if title is None:
        return {}
    return {
        Field.C_FIND_RQ: FederatedFind(reach.search, title, patience=patience),
        Field.C_GET_RQ: Get(reach.whole, reach.everywhere),
        Field.C_MOVE_RQ: Move(reach.whole, site.devices, Sender(requestor(settings)), reach.everywhere),
    }


def requestor(settings: DicomSettings) -> Requestor:
    """The node as it calls devices back."""
    return Requestor(
        ae_title=settings.ae_title, certificate=settings.certificate, private_key=settings.private_key
    )
