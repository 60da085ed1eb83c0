"""What a hostile answer of an identity provider costs the node before it is refused."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import mean

from bench.measures import Comparison
from bench.wire import RefusedError
from node.domain.errors import Unauthenticated
from tests.support import saml_attacks
from tests.support.saml_attacks import Case
from tests.support.saml_lab import ENTITY, Lab, site_keys_pem

_ATTEMPTS = 3
"""Of each case; the quickest counts, as the machine does other things, too."""
_MILLISECONDS = 1000


def refusals() -> Comparison:
    """Every attack of the tests: milliseconds until the slowest of them is refused.

    Beside it, python3-saml by itself, in a process of its own, with the same messages.
    """
    with tempfile.TemporaryDirectory() as folder:
        lab = Lab(Path(folder))
        try:
            seconds = {case.name: min(_refused(lab, case)) for case in saml_attacks.ALL}
            alone = _alone(lab)
        finally:
            lab.close()
    slowest = max(seconds, key=lambda name: seconds[name])
    taken = round(sum(one["taken"] for one in alone))
    return Comparison(
        ours=seconds[slowest] * _MILLISECONDS,
        peer=max(one["seconds"] for one in alone) * _MILLISECONDS,
        cpu_ours=mean(seconds.values()) * 1_000_000,
        cpu_peer=mean(one["seconds"] for one in alone) * 1_000_000,
        note=f"{len(seconds)} attacks, the slowest is: {slowest}; the library alone takes {taken} of them",
    )


def _refused(lab: Lab, case: Case) -> Iterator[float]:
    """Seconds until an attack was refused, for each attempt."""
    for _ in range(_ATTEMPTS):
        begun, request = lab.begin()
        encoded = _message(lab, case, request)
        began = time.perf_counter()
        try:
            lab.finish(begun, encoded)
        except Unauthenticated:
            yield time.perf_counter() - began
        else:
            raise RefusedError(f"the attack {case.name} was taken")


def _message(lab: Lab, case: Case, request: str) -> str:
    """An attack as a form has it, freshly signed."""
    encoded = lab.answer(request, **{**case.control, **case.defect}).encoded()
    if case.raw is None:
        return encoded
    return base64.b64encode(case.raw(base64.b64decode(encoded))).decode()


def _alone(lab: Lab) -> list[dict[str, float]]:
    """What python3-saml makes of the same attacks."""
    request = "_request-of-the-bench"
    asked = {
        "entity": ENTITY,
        "acs": lab.sp.acs,
        "idp": lab.idp.entity,
        "certificates": list(lab.idp.provider.certificates),
        "key": site_keys_pem().decode().partition("-----BEGIN CERTIFICATE")[0],
        "request": request,
        "messages": [_message(lab, case, request) for case in saml_attacks.ALL],
    }
    command = [sys.executable, "-m", "bench.saml_alone"]
    done = subprocess.run(command, input=json.dumps(asked), capture_output=True, text=True, check=True)
    found: list[dict[str, float]] = json.loads(done.stdout)
    return found
