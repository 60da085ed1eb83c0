"""Vectors that others have published: none gets in, and none is more than a refusal."""

from __future__ import annotations

import base64
import time

import pytest

from node.domain.errors import Unauthenticated, UnknownProvider
from node.identity.saml.answers import Asked, read_answer
from tests.support.saml_lab import Lab
from tests.support.vectors import published


@pytest.mark.peer
def test_published_vectors_are_refused(lab: Lab) -> None:
    vectors = published()
    assert len(vectors) > 200
    asked, now = Asked(provider=lab.idp.provider, request="_r", begun_at=0), time.time_ns() // 1000
    for data in vectors.values():
        for answer in (base64.b64encode(data).decode(), data.decode("latin-1")):
            with pytest.raises(Unauthenticated):
                read_answer(answer, asked, lab.sp, now)
        with pytest.raises((Unauthenticated, UnknownProvider)):
            lab.logins.verify_assertion(data)
