"""`konzilium`: the command line of a site."""

from __future__ import annotations

import click

from node import __version__, telemetry
from services.cli.account import account
from services.cli.alerts import alerts
from services.cli.amend.correct import correct
from services.cli.amend.mark import mark
from services.cli.amend.merge import merge, unmerge
from services.cli.amend.withdraw import lock, restore, retract
from services.cli.audit.command import audit
from services.cli.care.brake import brake
from services.cli.care.check import check
from services.cli.care.findings import findings
from services.cli.care.proof import proof
from services.cli.care.repair import repair
from services.cli.care.scrub import scrub
from services.cli.commands import Program
from services.cli.demo.command import demo
from services.cli.devices import device
from services.cli.drill import drill
from services.cli.emergency import emergency
from services.cli.federation.decide import confirm, consent, leave, resume, revoke, suspend
from services.cli.federation.invite import invite
from services.cli.federation.join import join
from services.cli.federation.peers import peers
from services.cli.federation.roles import demote, promote, role
from services.cli.federation.rotate import rotate
from services.cli.grant import grant
from services.cli.idp import idp
from services.cli.login import login
from services.cli.media_in import import_
from services.cli.media_out import export
from services.cli.migrate import migrate
from services.cli.partners import partner
from services.cli.policy import policy
from services.cli.quarantine import conflicts, quarantine
from services.cli.rebuild import rebuild
from services.cli.rules import rule
from services.cli.serve import serve
from services.cli.site import init
from services.cli.status import status
from services.cli.verify import verify


@click.group(
    cls=Program,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    examples=(
        "konzilium init /srv/brno --site brno",
        "konzilium device add /srv/brno CT1 192.0.2.10 104",
        "konzilium serve /srv/brno",
        "konzilium status /srv/brno",
    ),
)
@click.version_option(__version__, prog_name="konzilium")
def main() -> None:
    """Keep the medical images of a site: archive them, find them, give them back.

    A site lives in one folder (DIR): make it, name the devices that may send and ask, start the node.
    Every command explains itself with --help.

    Exit codes: 0 done; 1 refused or failed; 2 wrong usage; 3 partly done; 4 not a site or wrongly set up;
    5 something needs attention; 6 not possible now, try again later; 7 stored bytes are damaged.
    """
    telemetry.configure("error")


for command in (
    init,
    serve,
    status,
    alerts,
    audit,
    device,
    account,
    grant,
    policy,
    emergency,
    import_,
    export,
    quarantine,
    conflicts,
    correct,
    mark,
    merge,
    unmerge,
    retract,
    restore,
    lock,
    rule,
    partner,
    migrate,
    invite,
    join,
    confirm,
    peers,
    consent,
    suspend,
    resume,
    revoke,
    leave,
    rotate,
    role,
    promote,
    demote,
    idp,
    login,
    verify,
    check,
    repair,
    findings,
    scrub,
    brake,
    proof,
    rebuild,
    drill,
    demo,
):
    main.add_command(command)
