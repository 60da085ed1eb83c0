"""Terms as they are typed: `everything`, `nothing`, or conditions as `modality=CT,MR younger-than=30`."""

from __future__ import annotations

from typing import Any

import click

from node.domain.rule import EVERYTHING, NOTHING, Match, Terms

_LISTS = {"modality": "modalities", "from": "ae_titles", "body-part": "body_parts"}
_DAYS = {"younger-than": "younger_than", "older-than": "older_than"}


class TermsType(click.ParamType[Terms]):
    """What is given or taken."""

    name = "terms"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Terms:
        """Read the terms, or say what they may be."""
        if isinstance(value, Terms):
            return value
        words = str(value).split()
        if words == ["everything"]:
            return EVERYTHING
        if words == ["nothing"]:
            return NOTHING
        conditions: dict[str, Any] = {}
        for word in words:
            name, equals, given = word.partition("=")
            if not equals or not given or name not in _LISTS | _DAYS:
                known = ", ".join(f"{one}=" for one in _LISTS | _DAYS)
                self.fail(f"{word!r}: say everything, nothing, or conditions out of {known}.", param, ctx)
            conditions |= self._condition(name, given, param, ctx)
        if not conditions:
            self.fail("say everything, nothing, or conditions.", param, ctx)
        return Terms(matches=(Match(**conditions),))

    def _condition(
        self, name: str, given: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> dict[str, Any]:
        if name in _LISTS:
            return {_LISTS[name]: tuple(one for one in given.split(",") if one)}
        if not given.isascii() or not given.isdigit() or len(given) > 6:
            self.fail(f"{name} takes a number of days, not {given!r}.", param, ctx)
        return {_DAYS[name]: int(given)}


TERMS = TermsType()


def joined(given: tuple[Terms, ...]) -> Terms | None:
    """Several terms as one: what any of them covers; None if none was given."""
    return Terms(matches=tuple(match for one in given for match in one.matches)) if given else None


export_option = click.option(
    "--export",
    type=TERMS,
    metavar="TERMS",
    multiple=True,
    help="What this site gives it: everything, nothing, or conditions; may be given several times.",
)
accept_option = click.option(
    "--accept",
    type=TERMS,
    metavar="TERMS",
    multiple=True,
    help="What this site takes from it: everything, nothing, or conditions; may be given several times.",
)
