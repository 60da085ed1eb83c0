"""Where the other sites are, kept beside the keys: what a site needs to find them that has lost its catalog.

The file holds the signed metadata of the active members, nothing secret. Who saves the settings and the
folder of keys saves it with them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from node.domain.ids import SiteId
from node.domain.member import Member, Standing
from node.identity.certificates import known
from node.identity.files import write_whole
from node.identity.home import read

FILE = "members.json"
LONGEST = 64 << 20


def save(folder: Path, members: Sequence[Member]) -> bool:
    """Keep the metadata of the active members; whether they were others before.

    Args:
        folder: that of the keys.
        members: of this site.
    """
    active = {member.site: member.descriptor for member in members if member.is_active}
    text = json.dumps(active, ensure_ascii=False, indent=0, sort_keys=True)
    path = folder / FILE
    if path.is_file() and path.read_text("utf-8") == text:
        return False
    write_whole(path, text.encode())
    return True


def load(folder: Path) -> Sequence[Member]:
    """The members that were kept, to be called and not to be given anything until the facts are back."""
    path = folder / FILE
    if not path.is_file() or path.stat().st_size > LONGEST:
        return ()
    try:
        kept = json.loads(path.read_text("utf-8"))
        texts = {str(site): str(text) for site, text in kept.items()}
    except (ValueError, AttributeError):
        return ()
    found = (_member(SiteId.trusted(site), text) for site, text in texts.items())
    return [member for member in found if member is not None]


def _member(site: SiteId, text: str) -> Member | None:
    descriptor = read(text)
    if descriptor is None or descriptor.site != site:
        return None
    shown = sorted((known(pem).fingerprint, pem) for pem in descriptor.certificates)
    return Member(
        site=site,
        descriptor=text,
        certificates=tuple(pem for _, pem in shown),
        fingerprints=tuple(fingerprint for fingerprint, _ in shown),
        version=descriptor.version,
        url=descriptor.url,
        ae_title=descriptor.ae_title,
        standing=Standing.ACTIVE,
        introduced_by=site,
    )
