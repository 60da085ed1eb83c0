"""What follows from settings and time for this site's place in the federation, without anybody asking."""

from __future__ import annotations

from node.catalog.catalog import Catalog
from node.domain.principal import Kind, Principal
from node.identity.members import Members
from node.identity.rotation import Rotation


class Upkeep:
    """Does what is due; called now and then while the node runs."""

    def __init__(self, catalog: Catalog, members: Members) -> None:
        """The upkeep of one site.

        Args:
            catalog: of this site.
            members: of this site.
        """
        self._members = members
        self._rotation = Rotation(catalog, members.home)
        site = members.home.site
        self._node = Principal(kind=Kind.NODE, name=site, site=site)

    def tend(self) -> None:
        """Announce what has changed, share with introduced members if so chosen, go on with a change of keys.

        Raises:
            UnusableKey: the key of the node cannot be used.
        """
        self._members.announce()
        self._members.share_with_introduced(self._node)
        self._rotation.tend(self._node)
