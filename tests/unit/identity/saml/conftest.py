from collections.abc import Iterator

import pytest

from tests.support.saml_lab import PRAGUE_IDP, Idp, Lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """One site with two identity providers for all tests of a module: a refusal leaves nothing behind."""
    made = Lab(tmp_path_factory.mktemp("lab"), Idp(), PRAGUE_IDP)
    yield made
    made.close()
