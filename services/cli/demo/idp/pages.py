"""The pages of the demonstration's identity providers. Each one says first what it is."""

from __future__ import annotations

from html import escape
from typing import Final

from services.cli.demo.idp.asked import Request
from services.cli.demo.idp.people import Hospital

STYLE: Final = """
body{font:1.05rem/1.5 system-ui,sans-serif;max-width:42rem;margin:0 auto;padding:1rem;color:#1a1a1a}
.demo{background:#7a1f00;color:#fff;padding:.75rem 1rem;font-weight:600}
fieldset{border:1px solid #767676;margin:1rem 0;padding:1rem}
button{font:inherit;padding:.6rem 1rem;border:1px solid #003d7a;background:#003d7a;color:#fff;cursor:pointer}
button:focus-visible,input:focus-visible,a:focus-visible{outline:3px solid #b35900;outline-offset:2px}
li{margin:1rem 0}ul{list-style:none;padding:0}
"""
SCRIPT: Final = "document.forms[0].submit()"
_LABEL: Final = (
    "DEMONSTRATION. This is no hospital: nobody is asked for a password, and nothing here proves anything."
)


def page(title: str, content: str) -> str:
    """A page, with what it is before all else."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width"><title>{escape(title)} (demonstration)</title>'
        f'<style>{STYLE}</style></head><body><p class="demo" role="note">{_LABEL}</p>'
        f"<main><h1>{escape(title)}</h1>{content}</main></body></html>"
    )


def welcome(hospital: Hospital) -> str:
    """What somebody sees who comes by chance."""
    people = "".join(
        f"<li>{escape(person.display)}: {escape(person.does)}</li>" for person in hospital.people
    )
    return page(
        hospital.english,
        f"<p>Log in at the portal of a site of the demonstration, and choose this hospital there. "
        f"You can be:</p><ul>{people}</ul>"
        f'<p><a href="/metadata">Metadata of this identity provider</a></p>',
    )


def choose(hospital: Hospital, request: Request, query: str) -> str:
    """The people one can be."""
    asked = "<p>The portal asks for a second factor.</p>" if request.wants_mfa else ""
    people = "".join(
        f'<li><button name="person" value="{escape(one.name)}">{escape(one.display)}</button> '
        f"{escape(one.does)}</li>"
        for one in hospital.people
    )
    return page(
        f"Who are you at {hospital.english}?",
        f"<p>{escape(request.portal.entity)} asks.</p>{asked}"
        f'<form method="post" action="/login"><input type="hidden" name="asked" value="{escape(query)}">'
        '<fieldset><legend>Second factor</legend><label><input type="checkbox" name="mfa" value="yes"> '
        f"Pretend that it was shown</label></fieldset><ul>{people}</ul></form>",
    )


def send(request: Request, response: str) -> str:
    """A form that carries the answer to the portal (SAML Bindings §3.5)."""
    state = f'<input type="hidden" name="RelayState" value="{escape(request.relay_state)}">'
    return page(
        "Back to the portal",
        f'<form method="post" action="{escape(request.portal.acs)}">'
        f'<input type="hidden" name="SAMLResponse" value="{escape(response)}">{state}'
        "<p>What this hospital says of you goes to the portal, encrypted.</p>"
        "<button autofocus>Go on</button></form>"
        f"<script>{SCRIPT}</script>",
    )


def refused(why: str) -> str:
    """What was wrong with the request."""
    return page("That did not work", f"<p>{escape(why)}</p>")
