"""`konzilium idp`: which identity providers this site believes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from node.catalog.providers import FOREVER, Source
from node.domain.clock import system_clock
from node.domain.errors import NodeError
from node.domain.ids import SourceName
from node.domain.words import number
from node.identity.certificates import known
from node.identity.providers.descriptor import Provider
from node.identity.providers.discovery import AGGREGATE, MDQ, SINGLE
from node.identity.providers.keeping import Refreshed
from node.wiring import Site, open_site
from services.cli import types
from services.cli.commands import Group
from services.cli.output import Exit, as_json, columns, complain, finish, moment, progress_bar, say
from services.cli.words import FINGERPRINT, grouped
from services.run.providers import providers_of, sources_of

SHOWN = 50
NAME = types.IdentifierType(SourceName, "name")
_PEM = re.compile(r"-----BEGIN CERTIFICATE-----.+?-----END CERTIFICATE-----", re.DOTALL)

name_argument = click.argument("name", metavar="NAME", type=NAME)


@click.group(cls=Group, short_help="Say which identity providers are believed.")
def idp() -> None:
    """Say which identity providers are believed: the logins of hospitals, or a whole federation of them.

    Whoever logs in there is known here by name, and may do nothing until a role is granted
    (`konzilium grant add`). docs/IDENTITY.md goes through it step by step.
    """


@idp.command(
    "add",
    short_help="Believe an identity provider, or a federation.",
    examples=(
        "konzilium idp add /srv/brno hospital --url https://idp.hospital.example/metadata",
        "konzilium idp add /srv/brno hospital --file idp.xml --fingerprint 'AB:CD:...' "
        "--scope hospital.example",
        "konzilium idp add /srv/brno eduid --aggregate https://metadata.eduid.cz/entities/eduid+idp "
        "--signed-by metadata.eduid.cz.crt.pem",
        "konzilium idp add /srv/brno edugain --mdq https://mdq.example/ --signed-by mdq.pem "
        "--entity https://idp.clinic.example/idp",
    ),
)
@types.site_argument
@name_argument
@click.option("--url", metavar="URL", help="Metadata of one identity provider, fetched again and again.")
@click.option(
    "--file", "file", type=types.FILE, metavar="FILE", help="Metadata of one identity provider, as a file."
)
@click.option("--aggregate", metavar="URL", help="Signed metadata of a whole federation.")
@click.option("--mdq", metavar="URL", help="A service that is asked for one at a time (MDQ).")
@click.option(
    "--signed-by",
    type=types.FILE,
    multiple=True,
    metavar="PEM",
    help="The certificate that the metadata are signed with.",
)
@click.option(
    "--fingerprint",
    type=FINGERPRINT,
    multiple=True,
    metavar="SHA256",
    help="Its fingerprint instead; for one identity provider, that of its own certificate.",
)
@click.option(
    "--scope",
    multiple=True,
    metavar="DOMAIN",
    help="For whom one identity provider speaks, in place of what its metadata say: the part behind the @.",
)
@click.option(
    "--entity", multiple=True, metavar="ENTITY", help="With --mdq: identity providers to offer for a login."
)
@click.option("--replace", "again", is_flag=True, help="In place of the source of that name.")
def add(
    directory: Path,
    *,
    name: SourceName,
    file: Path | None,
    signed_by: Sequence[Path],
    fingerprint: Sequence[str],
    scope: Sequence[str],
    entity: Sequence[str],
    again: bool,
    **places: str | None,
) -> None:
    """Believe what the metadata say, if they are signed or show what you have compared.

    NAME is what this site calls the source. For one identity provider, a first call without --fingerprint
    shows the fingerprints in its metadata: let its administrator read them to you over the telephone, then
    say the command again with them. A federation publishes the certificate that it signs with.
    """
    kind, url = _place(file, places)
    pins = (*(pem for path in signed_by for pem in certificates_of(path)), *fingerprint)
    options: dict[str, Any] = {"scopes": list(scope)} if scope else {}
    source = Source(
        name=name,
        kind=kind,
        url=url,
        pins=pins,
        options={**options, "entities": entity} if entity else options,
    )
    document = file.read_bytes() if file else None
    with open_site(directory) as site:
        sources = sources_of(site)
        if kind == SINGLE and not pins:
            compare(sources.look(source, document))
            finish(Exit.ATTENTION)
            return
        done = sources.add(site.operator(), source, document, again=again)
        tell_added(site, done)


def _place(file: Path | None, places: dict[str, str | None]) -> tuple[str, str]:
    """Kind and address of what was given.

    Raises:
        UsageError: nothing was, or more than one thing.
    """
    given = [(name, url) for name, url in places.items() if url]
    if len(given) + bool(file) != 1:
        raise click.UsageError("say one of --url, --file, --aggregate and --mdq")
    if file:
        return SINGLE, ""
    name, url = given[0]
    return {"url": SINGLE, "aggregate": AGGREGATE, "mdq": MDQ}[name], url


def certificates_of(path: Path) -> list[str]:
    """The certificates of a file (PEM).

    Raises:
        BadParameter: it holds none.
    """
    found = _PEM.findall(path.read_text("ascii", "replace"))
    if not found:
        raise click.BadParameter(f"{path} holds no PEM certificate", param_hint="--signed-by")
    return [known(f"{pem}\n").pem for pem in found]


def compare(found: Sequence[Provider]) -> None:
    """Show what an administrator has to compare before an identity provider is believed."""
    for one in found:
        say(f"{one.name()} ({one.entity}) shows")
        for pem in one.certificates:
            certificate = known(pem)
            say(f"  {grouped(certificate.fingerprint)}  (until {day(certificate.not_after)})")
        say(f"  and says that it speaks for {scopes(one) or 'nobody: give --scope'}.")
    say("It is not believed yet. Let its administrator read the fingerprint to you over the telephone; if it")
    say("is the same, say the command again with --fingerprint and these 32 pairs.")


def tell_added(site: Site, done: Refreshed) -> None:
    """Say what is believed from now on, and what is still to do."""
    name = done.source.name
    say(f"{name}: {number(done.read, 'identity provider')} believed {until(done.source)}.")
    if done.source.kind != AGGREGATE:
        for one in [one for one in providers_of(site).all() if one.source == name]:
            say(f"  {one.name()} ({one.entity}), for {scopes(one) or 'nobody'}")
            if not one.scopes:
                complain(f"{one.entity} speaks for no scope, so nobody can log in by it; give --scope")
            elif not {text.lower() for text, _ in one.scopes} & set(site.home.scopes):
                say(f"  If this is your own institution, put {scopes(one)} into federation.scopes:")
                say("  other sites answer its people only if your site speaks for them.")
    tell_skipped(done)
    say(f"Who logs in may do nothing yet: see `konzilium grant add {site.directory} --help`.")


def tell_skipped(done: Refreshed) -> None:
    """Say what was left out, and why."""
    if done.skipped:
        say(f"  {number(done.skipped, 'identity provider')} left out:")
        for note in done.notes:
            say(f"    {note}")


@idp.command(
    "list",
    short_help="Show where identity providers come from.",
    examples=("konzilium idp list /srv/brno", "konzilium idp list /srv/brno --json"),
)
@types.site_argument
@types.json_option
def list_(directory: Path, *, json_: bool) -> None:
    """Show the sources: how many identity providers each tells of, until when it holds, and what is wrong."""
    with open_site(directory) as site:
        sources = sources_of(site).all()
        with site.catalog.reading() as unit:
            counts = unit.providers.counts()
    if json_:
        as_json([{**asdict(one), "providers": counts.get(one.name, 0)} for one in sources])
    elif sources:
        rows = [
            (one.name, one.kind, counts.get(one.name, 0), until(one), _refreshed(one), one.error)
            for one in sources
        ]
        columns(("NAME", "KIND", "KNOWN", "BELIEVED", "REFRESHED", "TROUBLE"), rows)
    else:
        say(f"No identity provider is believed; see `konzilium idp add {directory} --help`.")


def _refreshed(source: Source) -> str:
    return (moment(source.fetched_at) if source.url else "by hand") if source.fetched_at else "never"


@idp.command(
    "search",
    short_help="Find identity providers by name.",
    examples=("konzilium idp search /srv/brno brno", "konzilium idp search /srv/brno 'university hospital'"),
)
@types.site_argument
@click.argument("text", metavar="TEXT", default="")
@click.option("--language", default="en", show_default=True, help="By whose names they are ordered.")
@types.json_option
def search(directory: Path, *, text: str, language: str, json_: bool) -> None:
    """Find those that are believed now whose names, domains or entity IDs hold all words of TEXT."""
    with open_site(directory) as site:
        found = providers_of(site).search(text, language, SHOWN)
    if json_:
        as_json([told(one) for one in found])
    elif found:
        columns(
            ("NAME", "SPEAKS FOR", "SOURCE", "ENTITY ID"),
            [(one.name(language), scopes(one), one.source, one.entity) for one in found],
        )
    else:
        say("Nothing is found; who does not show itself is found by its whole entity ID alone.")


@idp.command(
    "show",
    short_help="Show all that is known of one.",
    examples=("konzilium idp show /srv/brno https://idp.hospital.example/saml",),
)
@types.site_argument
@click.argument("entity", metavar="ENTITY")
@types.json_option
def show(directory: Path, *, entity: str, json_: bool) -> None:
    """Show what is known of the identity provider of that entity ID, or of a source that tells of one."""
    with open_site(directory) as site:
        one = _find(site, entity)
    if json_:
        as_json(told(one))
        return
    for head, text in (
        ("Entity ID", one.entity),
        *((f"Name ({language})", name) for language, name in one.names),
        ("Speaks for", scopes(one) or "nobody: give --scope"),
        ("Ask there", one.contact or "it does not say whom"),
        *(("Login", f"{place}  ({binding.rpartition(':')[2]})") for binding, place in one.sso),
        *(("Logout", f"{place}  ({binding.rpartition(':')[2]})") for binding, place, _ in one.slo),
        *(("Certificate", _certificate(pem)) for pem in one.certificates),
        *(("Category", category) for category in one.categories),
        *(("Assurance", assurance) for assurance in one.assurance),
        ("Source", one.source),
        (
            "Believed",
            "until it is removed" if one.valid_until >= FOREVER else f"until {moment(one.valid_until)}",
        ),
    ):
        say(f"{head + ':':13} {text}")
    if one.demonstration:
        say("It is a demonstration: anybody may log in there as anybody.")


def _find(site: Site, entity: str) -> Provider:
    """The one of an entity ID, or the only one of a source.

    Raises:
        UnknownProvider: there is none.
    """
    providers = providers_of(site)
    of_source = [one for one in providers.all() if one.source == entity]
    return of_source[0] if len(of_source) == 1 else providers.find(entity)


def _certificate(pem: str) -> str:
    certificate = known(pem)
    return f"{grouped(certificate.fingerprint)}  (until {day(certificate.not_after)})"


@idp.command(
    "refresh",
    short_help="Fetch metadata again, now.",
    examples=("konzilium idp refresh /srv/brno", "konzilium idp refresh /srv/brno eduid"),
)
@types.site_argument
@click.argument("names", metavar="[NAME]...", nargs=-1, type=NAME)
@types.json_option
def refresh(directory: Path, *, names: Sequence[SourceName], json_: bool) -> None:
    """Fetch the metadata of these sources, or of all, and say what has changed.

    The running node does so by itself (login.metadata_hours). What could not be fetched changes nothing.
    """
    done: list[Refreshed] = []
    failed: dict[str, str] = {}
    with open_site(directory) as site:
        sources = sources_of(site)
        wanted: list[str] = [*names] or [one.name for one in sources.all()]
        with progress_bar(len(wanted), "fetching") as bar:
            for name in wanted:
                try:
                    done.append(sources.refresh(name))
                except NodeError as why:
                    failed[name] = str(why)
                bar.update(1)
    if json_:
        as_json(
            [*[_outcome(one) for one in done], *[{"name": n, "error": str(e)} for n, e in failed.items()]]
        )
    else:
        for one in done:
            tell_refreshed(one)
        for name, reason in failed.items():
            complain(f"{name}: {reason}")
    finish((Exit.PARTLY if done else Exit.FAILED) if failed else Exit.FINE)


def _outcome(done: Refreshed) -> dict[str, Any]:
    kept = {name: value for name, value in asdict(done).items() if name not in ("source", "gone")}
    return {"name": done.source.name, **kept, "valid_until": done.source.valid_until}


def tell_refreshed(done: Refreshed) -> None:
    """Say what a refresh has changed."""
    name = done.source.name
    if done.unchanged:
        how = "nothing has changed" if done.source.url else "it was given as a file, and is not fetched"
        say(f"{name}: {how}; believed {until(done.source)}.")
        return
    say(
        f"{name}: {number(done.read, 'identity provider')}, {done.changed} new or changed, {done.removed} "
        f"gone; believed {until(done.source)}."
    )
    tell_skipped(done)


@idp.command(
    "remove", short_help="Believe a source no longer.", examples=("konzilium idp remove /srv/brno hospital",)
)
@types.site_argument
@name_argument
def remove(directory: Path, *, name: SourceName) -> None:
    """Believe nothing that this source told.

    Nobody logs in by it from now on, and whoever has is logged out. Grants stay as they are.
    """
    with open_site(directory) as site:
        sources_of(site).remove(site.operator(), name)
    say(f"{name} is believed no longer.")


def until(source: Source) -> str:
    """Until when a source is believed, in words."""
    if source.valid_until >= FOREVER:
        return "until it is removed"
    if source.valid_until <= system_clock():
        return f"no more, since {moment(source.valid_until)}"
    return f"until {moment(source.valid_until)}"


def scopes(one: Provider) -> str:
    """For whom one speaks, in words."""
    return ", ".join(f"/{text}/" if is_pattern else text for text, is_pattern in one.scopes)


def day(at: int) -> str:
    """The day of a moment."""
    return moment(at)[:10]


def told(one: Provider) -> dict[str, Any]:
    """One as `--json` tells it: certificates by their fingerprint."""
    certificates = [known(pem) for pem in one.certificates]
    return {
        **asdict(one),
        "certificates": [{"fingerprint": c.fingerprint, "until": c.not_after} for c in certificates],
    }
