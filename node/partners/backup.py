"""A backup by plain DICOM, in a closed loop.

```
what ought to be there ────┐
                           ├──▶ difference ──▶ C-STORE ──▶ C-FIND ──▶ storage commitment ──▶ report
what C-FIND says is there ─┘                     ▲            │ not there
                                                 └────────────┘
```

What has just arrived goes soon; the whole archive is compared daily. A study is counted first, and looked at
by its instances only where the numbers differ or are not told. Only a commitment of the partner counts as
proof: what is merely found there may be damaged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from node.archive.archive import Archive
from node.catalog import traits
from node.catalog.catalog import Catalog
from node.catalog.unit import Unit
from node.domain.commitment import Reason, Vouched, Wanted
from node.domain.errors import ForeignRefused
from node.domain.ids import UID, Digest, InstanceUID, StudyUID
from node.domain.job import SECOND
from node.domain.partner import CopyThere, Partner, PartnerCopy
from node.domain.principal import Principal
from node.domain.query import Selection
from node.partners.difference import Steps, batches, compare, settled
from node.partners.foreign import Answer, Foreign

log = logging.getLogger(__name__)

NOTED = 1000
"""Arrivals that are noted in one unit of work."""
SENT_AT_ONCE = 100
"""Instances whose copies are written together; after a crash so many may be sent again."""
ASKED_AT_ONCE = 500
"""Instances of one Storage Commitment request."""
ASK_AGAIN = 3600 * SECOND
"""After this time without an answer, commitment is asked for again."""
PAGE = 500

REASONS = {
    Reason.NO_SUCH_INSTANCE: "the partner says that it does not have it",
    Reason.CLASS_CONFLICT: "the partner has it as an instance of another SOP class",
    Reason.PROCESSING_FAILURE: "the partner did not commit itself",
}


class Backup:
    """Keeps the copies at one partner in step with this archive; used by one thread."""

    def __init__(
        self,
        archive: Archive,
        catalog: Catalog,
        partner: Partner,
        foreign: Foreign,
        principal: Principal,
        *,
        new_uid: Callable[[], UID],
        goes_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """The backup of an archive at a partner.

        Args:
            archive: the doors through which instances go out.
            catalog: the facts.
            partner: where the copies are.
            foreign: that archive.
            principal: on whose behalf they are sent, for the audit record.
            new_uid: makes the UIDs of Storage Commitment requests.
            goes_on: whether to go on with the next study.
        """
        self._archive = archive
        self._catalog = catalog
        self._partner = partner
        self._name = partner.ae_title
        self._foreign = foreign
        self._principal = principal
        self._new_uid = new_uid
        self._goes_on = goes_on

    def note(self) -> int:
        """Owe copies of what has arrived since the last time; how many."""
        noted = 0
        while self._has_arrivals():
            now, last = self._catalog.perform(self._note)
            noted += now
            if not last:
                break
        return noted

    def soon(self, each: Callable[[StudyUID], None] = lambda study: None) -> None:
        """Send what has arrived, see that it is there, and ask for commitment.

        Raises:
            PeerUnreachable, ForeignRefused: the partner cannot be worked with now.
        """
        self.note()
        with self._catalog.reading() as unit:
            studies = unit.partner_copies.open_studies(self._name)
        refusal: ForeignRefused | None = None
        for study in studies:
            if not self._goes_on():
                return
            refusal = self._looked(study, by_uid=True) or refusal
            each(study)
        if studies:
            self.ask()
        if refusal is not None:
            raise refusal

    def whole(
        self,
        each: Callable[[StudyUID], None] = lambda study: None,
        *,
        by_uid: bool = False,
        send: bool = True,
    ) -> bool:
        """Compare everything that ought to be there with what is; whether all of it was.

        Args:
            each: told of each study that was compared.
            by_uid: look at every instance although the numbers agree.
            send: send what is missing; otherwise it is only noted.

        Raises:
            PeerUnreachable, ForeignRefused: the partner cannot be worked with now.
        """
        self.note()
        after, refusal = "", None
        while studies := self._page(after):
            for study in studies:
                if not self._goes_on():
                    return False
                refusal = self._looked(study, by_uid=by_uid, send=send, retry=send) or refusal
                each(study)
            after = studies[-1]
        if send:
            self.ask()
        if refusal is not None:
            raise refusal
        self._catalog.perform(lambda unit: unit.partners.looked(self._name))
        return True

    def ask(self) -> None:
        """Ask the partner to take the responsibility for what is found there."""
        if not self._foreign.offers().commitment:
            return
        while self._goes_on() and (asked := self._catalog.perform(self._ask)):
            transaction, wanted = asked
            try:
                vouched = self._foreign.commit(transaction, wanted)
            except ForeignRefused as error:
                log.warning("a partner did not commit itself", extra={"why": str(error)})
                self._catalog.perform(partial(self._not_committed, transaction, wanted, str(error)))
                return
            if vouched is not None:
                answered(self._catalog, self._name, transaction, vouched)

    def _has_arrivals(self) -> bool:
        with self._catalog.reading() as unit:
            partner = unit.partners.find(self._name) or self._partner
            return unit.partner_copies.last_row() != partner.seen

    def _page(self, after: str) -> list[StudyUID]:
        with self._catalog.reading() as unit:
            return list(unit.partner_copies.studies(self._name, after, PAGE))

    def _note(self, unit: Unit) -> tuple[int, bool]:
        """Owe copies of the next arrivals; how many, and whether there may be more."""
        partner = unit.partners.find(self._name) or self._partner
        arrived = unit.partner_copies.arrived(partner.seen, NOTED)
        owed = 0
        for _, uid, digest, known in arrived:
            if not partner.match.holds(known, now=unit.now):
                continue
            study = StudyUID.trusted(known.study)
            copy = unit.partner_copies.find(self._name, uid)
            if copy is None or copy.digest not in (digest, None):
                why = "" if copy is None else "other content is archived under this UID now"
                new = PartnerCopy(instance=uid, study=study, digest=copy.digest if copy else None)
                unit.partner_copies.save(self._name, [replace(new, at=unit.now, why=why)])
                owed += 1
        if len(arrived) < NOTED:
            unit.partners.noted(self._name, unit.partner_copies.last_row())
        else:
            unit.partners.noted(self._name, arrived[-1][0])
        return owed, len(arrived) == NOTED

    def _looked(
        self, study: StudyUID, *, by_uid: bool, send: bool = True, retry: bool = False
    ) -> ForeignRefused | None:
        """Look at one study; what the partner refuses of it holds up no other."""
        try:
            self._look(study, by_uid=by_uid, send=send, retry=retry)
        except ForeignRefused as error:
            log.warning("a partner refused a question", extra={"partner": self._name, "why": str(error)})
            return error
        return None

    def _look(self, study: StudyUID, *, by_uid: bool = False, send: bool = True, retry: bool = False) -> None:
        """Compare one study, send what is missing and compare that."""
        steps = self._compared(study, by_uid=by_uid, retry=retry)
        if steps is None or not send or not steps.missing:
            return
        for part in batches(steps.missing, SENT_AT_ONCE):
            if self._goes_on():
                self._send(study, part)
        self._compared(study, by_uid=True)

    def _compared(self, study: StudyUID, *, by_uid: bool, retry: bool = False) -> Steps | None:
        """Write what the partner says of a study; None where it needs no look."""
        ought, held, copies = self._known(study)
        found = self._foreign.study(study)
        if not by_uid and settled(ought, held, copies, found.instances if found else 0):
            return None
        there = self._there(study) if found else set()

        def write(unit: Unit) -> Steps:
            steps = compare(study, ought, held, copies, there, now=unit.now, retry=retry)
            unit.partner_copies.save(self._name, steps.saved)
            unit.partner_copies.drop(self._name, steps.dropped)
            return steps

        return self._catalog.perform(write)

    def _known(
        self, study: StudyUID
    ) -> tuple[dict[InstanceUID, Digest], set[str], dict[InstanceUID, PartnerCopy]]:
        """What ought to be there of a study, what of it is here, and what is known of its copies."""
        with self._catalog.reading() as unit:
            ought = {
                known.uid: known.digest
                for known in traits.of_study(unit, study)
                if self._partner.match.holds(known.traits, now=unit.now)
            }
            return ought, unit.partner_copies.held(study), unit.partner_copies.of_study(self._name, study)

    def _there(self, study: StudyUID) -> set[str]:
        """The instances of a study that the partner lists."""
        return {
            instance.uid
            for series in self._foreign.series(study)
            for instance in self._foreign.instances(study, series.uid)
        }

    def _send(self, study: StudyUID, instances: tuple[InstanceUID, ...]) -> None:
        """Send instances of a study; what became of each is written even if the partner goes meanwhile."""
        chosen = self._archive.select(
            self._principal, Selection(studies=(study,), instances=instances), destination=f"to {self._name}"
        )
        digests = {instance.uid: instance.digest for instance in chosen}
        answers: list[Answer] = []
        self._catalog.perform(lambda unit: self._begin(unit, study, digests))
        try:
            for answer in self._foreign.store(chosen):
                answers.append(answer)
        finally:
            self._catalog.perform(lambda unit: self._write(unit, study, digests, answers))

    def _begin(self, unit: Unit, study: StudyUID, digests: dict[InstanceUID, Digest]) -> None:
        """Note what is about to be sent: if no answer comes, what is found there later was sent from here."""
        copies = unit.partner_copies.of_study(self._name, study)
        new = PartnerCopy(instance=InstanceUID.trusted(""), study=study, at=unit.now)
        begun = [
            replace(copies.get(uid, new), instance=uid, digest=digest)
            for uid, digest in digests.items()
            if uid not in copies or copies[uid].digest is None
        ]
        unit.partner_copies.save(self._name, begun)

    def _write(
        self, unit: Unit, study: StudyUID, digests: dict[InstanceUID, Digest], answers: list[Answer]
    ) -> None:
        """Write what became of instances that were sent."""
        unit.partner_copies.save(
            self._name,
            [
                PartnerCopy(
                    instance=answer.instance,
                    study=study,
                    digest=digests[answer.instance] if answer.taken else None,
                    state=CopyThere.SENT if answer.taken else CopyThere.REFUSED,
                    at=unit.now,
                    why=answer.why,
                )
                for answer in answers
            ],
        )
        for answer in answers:
            if not answer.taken:
                log.warning(
                    "a partner did not take an instance", extra={"partner": self._name, "why": answer.why}
                )

    def _ask(self, unit: Unit) -> tuple[UID, list[Wanted]] | None:
        """Note the next request; None where nothing is to be asked for."""
        copies = unit.partner_copies.uncommitted(self._name, unit.now - ASK_AGAIN, ASKED_AT_ONCE)
        if not copies:
            return None
        transaction = self._new_uid()
        unit.partner_copies.save(
            self._name,
            [replace(copy, transaction=transaction, asked_at=unit.now) for copy in copies],
        )
        found = [unit.instances.find(copy.instance) for copy in copies]
        return transaction, [
            Wanted(sop_class=instance.sop_class, instance=instance.uid) for instance in found if instance
        ]

    def _not_committed(self, transaction: UID, wanted: Sequence[Wanted], why: str, unit: Unit) -> None:
        """The partner does not take the responsibility; the copies stay what they are."""
        asked = unit.partner_copies.asked(self._name, transaction, [one.instance for one in wanted])
        unit.partner_copies.save(self._name, [replace(copy, why=why) for copy in asked])


def answered(catalog: Catalog, ae_title: str, transaction: UID, vouched: Vouched) -> None:
    """Write the answer of a partner to a Storage Commitment request; it may come twice.

    Raises:
        ForeignRefused: nothing was asked of this partner under that transaction.
    """

    def write(unit: Unit) -> None:
        held = [wanted.instance for wanted in vouched.held]
        failed = {wanted.instance: reason for wanted, reason in vouched.failed}
        good = unit.partner_copies.asked(ae_title, transaction, held)
        bad = unit.partner_copies.asked(ae_title, transaction, failed)
        if not good and not bad:
            raise ForeignRefused("this site", "no such storage commitment was asked for")
        for copy in good:
            if copy.state in (CopyThere.SENT, CopyThere.FOUND):
                new = replace(copy, state=CopyThere.COMMITTED, at=unit.now, why="")
                unit.partner_copies.save(ae_title, [new])
        for copy in bad:
            gone = failed[copy.instance] is Reason.NO_SUCH_INSTANCE
            state = CopyThere.OWED if gone else CopyThere.FOUND
            new = replace(copy, state=state, at=unit.now, why=REASONS[failed[copy.instance]])
            unit.partner_copies.save(ae_title, [new])

    catalog.perform(write)
