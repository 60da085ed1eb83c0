"""Programs of this site, which show the node's own certificate, beside the members."""

from __future__ import annotations

from collections.abc import Hashable

from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.domain.rule import EVERYTHING
from node.identity.members import Members


class Household:
    """Members, and this site itself: whoever holds the node's key speaks for the site.

    A program of the hospital may so use the Storage service as a member does, and ask all sites at once.
    """

    def __init__(self, members: Members) -> None:
        """The household of a site.

        Args:
            members: of this site.
        """
        self._members = members
        self.home = members.home
        self._read: tuple[int, dict[str, str]] = 0, {}

    def recognise(self, fingerprint: str) -> Member:
        """The member that may show this certificate now, or this site itself.

        Raises:
            Unauthenticated: nobody may show it.
            LinkSuspended: the link with that member is cut.
        """
        if fingerprint in self._own():
            return self._itself()
        return self._members.recognise(fingerprint)

    def certificates_of(self, site: SiteId) -> tuple[str, ...]:
        """The certificates (PEM) that a member, or this site, may show now."""
        if site == self.home.site:
            return tuple(self._own().values())
        return self._members.certificates_of(site)

    def trusted(self) -> tuple[str, ...]:
        """The certificates (PEM) with which a connection may be made."""
        return (*self._members.trusted(), *self._own().values())

    def version(self) -> Hashable:
        """A value that changes when `trusted` does."""
        return self._members.version(), frozenset(self._own())

    def _own(self) -> dict[str, str]:
        """The certificates of this site by fingerprint, read again when the folder of keys has changed."""
        changed = self.home.key_folder.stat().st_mtime_ns
        if self._read[0] != changed:
            self._read = changed, {one.fingerprint: one.pem for one in self.home.certificates()}
        return self._read[1]

    def _itself(self) -> Member:
        own = self._own()
        return Member(
            site=self.home.site,
            descriptor="",
            certificates=tuple(own.values()),
            fingerprints=tuple(own),
            version=0,
            url=self.home.url,
            ae_title=self.home.ae_title,
            standing=Standing.ACTIVE,
            introduced_by=self.home.site,
            export=EVERYTHING,
            accept=EVERYTHING,
        )
