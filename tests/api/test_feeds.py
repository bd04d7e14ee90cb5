"""Sources that settings declare, in a process with and without a port."""

from __future__ import annotations

import pytest

from api.feeds import feeds_of, known_sources
from api.settings.service import Settings


@pytest.mark.parametrize("port", [None, 0])
def test_the_source_of_a_single_port_is_known_where_letters_are_replayed_too(port: int | None) -> None:
    found = feeds_of(Settings(mllp_tenant="acme/Development", mllp_port=port))
    assert [one.name for one in found.sources] == ["mllp"]
    assert len(found.ports) == (0 if port is None else 1)
    # A command that takes no port does not mind one without a tenant.
    assert known_sources(Settings(mllp_port=port)).sources == ()
    known = known_sources(Settings(mllp_tenant="acme/Development", mllp_port=port))
    assert (known.sources, known.ports) == (found.sources, ())
