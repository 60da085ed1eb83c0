"""What the commands for decisions have in common."""

from __future__ import annotations

import click

reason_option = click.option(
    "--reason", required=True, help="Why; kept with the decision, and told to the other sites."
)
issuer_option = click.option(
    "--issuer", default="", help="Who issued that Patient ID, if the images name an issuer."
)
EVERYWHERE = "Other sites that have it follow as soon as they hear of it."
