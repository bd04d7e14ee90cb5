"""Fixtures that the tests of this folder share."""

from __future__ import annotations

import pytest

from tests.api.search.searched import PAGE_MRN, PAGE_PATIENT
from tests.support.fhir import (
    identified,
    patient,
    product_page_report,
)
from tests.support.service import Service


@pytest.fixture
async def page(service: Service) -> Service:
    """A tenant with the product page's report and its patient."""
    await service.load(product_page_report(), patient(PAGE_PATIENT, identified(PAGE_MRN, "0000000009")))
    return service
