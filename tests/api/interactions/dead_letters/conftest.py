"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest

from tests.support.service import Service


@pytest.fixture
def service(own_service: Service) -> Service:
    """A service of its own: its counts start at nothing."""
    return own_service
