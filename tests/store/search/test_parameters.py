"""The table keeps its own rules."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any, Final

import pytest

from store.fhir.resource_types import RESOURCE_TYPES
from store.search.parameters import COMMON, DIAGNOSTIC_REPORT, TYPES, SearchType

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from store.search.parameters import Parameter, ResourceType


def each(cases: Mapping[str, tuple[Any, ...]]) -> Callable[[Callable[..., None]], Callable[[], None]]:
    """Test a rule on all cases at once: thousands of tests take longer to begin than to run."""

    def tested(rule: Callable[..., None]) -> Callable[[], None]:
        def test() -> None:
            broken: dict[str, str] = {}
            for name, case in cases.items():
                try:
                    rule(*case)
                except AssertionError as error:
                    broken[name] = str(error)
            assert broken == {}

        return test

    return tested


each_row = each(
    {f"{row.name}.{one.name}": (row, one) for row in TYPES.values() for one in row.parameters}
    | {one.name: (DIAGNOSTIC_REPORT, one) for one in COMMON}
)
each_type = each({name: (row,) for name, row in TYPES.items()})

SP: Final = "http://hl7.org/fhir/SearchParameter/"
REGISTERED: Final = {
    "based-on": ("reference", "DiagnosticReport-based-on"),
    "category": ("token", "DiagnosticReport-category"),
    "code": ("token", "clinical-code"),
    "conclusion": ("token", "DiagnosticReport-conclusion"),
    "date": ("date", "clinical-date"),
    "encounter": ("reference", "clinical-encounter"),
    "identifier": ("token", "clinical-identifier"),
    "issued": ("date", "DiagnosticReport-issued"),
    "media": ("reference", "DiagnosticReport-media"),
    "patient": ("reference", "clinical-patient"),
    "performer": ("reference", "DiagnosticReport-performer"),
    "result": ("reference", "DiagnosticReport-result"),
    "results-interpreter": ("reference", "DiagnosticReport-results-interpreter"),
    "specimen": ("reference", "DiagnosticReport-specimen"),
    "status": ("token", "DiagnosticReport-status"),
    "subject": ("reference", "DiagnosticReport-subject"),
}
"""Section 2.2 of the reference."""
TARGETS: Final = {
    "based-on": "CarePlan ImmunizationRecommendation MedicationRequest NutritionOrder ServiceRequest",
    "encounter": "Encounter",
    "media": "Media",
    "patient": "Patient",
    "performer": "CareTeam Organization Practitioner PractitionerRole",
    "result": "Observation",
    "results-interpreter": "CareTeam Organization Practitioner PractitionerRole",
    "specimen": "Specimen",
    "subject": "Device Group Location Patient",
}
SHARED: Final = frozenset(
    "clinical-code clinical-date clinical-encounter clinical-identifier clinical-patient clinical-type"
    " individual-address individual-address-city individual-address-country individual-address-postalcode"
    " individual-address-state individual-address-use individual-birthdate individual-email"
    " individual-family individual-gender individual-given individual-phone individual-telecom"
    " medications-encounter medications-medication medications-status".split()
)
"""Parameters that R4 registers once for several types."""
SHARED_IDENTIFIER: Final = frozenset(
    "AllergyIntolerance CarePlan CareTeam Composition Condition DiagnosticReport DocumentReference Encounter"
    " ImagingStudy Immunization List MedicationRequest Observation Procedure ServiceRequest".split()
)
"""Types whose `identifier` R4 registers once for all, as `clinical-identifier`."""


OURS: Final = {("Bundle", "patient")}
"""Elements for which R4 has no search parameter."""


def test_a_diagnostic_report_has_all_parameters_of_r4() -> None:
    found = {
        row.name: (row.type.value, row.definition.removeprefix(SP))
        for row in DIAGNOSTIC_REPORT.parameters
        if row.type is not SearchType.SPECIAL
    }
    assert found == REGISTERED


@pytest.mark.parametrize(("name", "targets"), TARGETS.items())
def test_a_reference_of_a_diagnostic_report_has_the_targets_of_r4(name: str, targets: str) -> None:
    assert sorted(DIAGNOSTIC_REPORT.by_name[name].targets) == targets.split()


@pytest.mark.parametrize(
    ("alias", "name"), [("context", "encounter"), ("resultsInterpreter", "results-interpreter")]
)
def test_upstreams_names_are_aliases(alias: str, name: str) -> None:
    assert DIAGNOSTIC_REPORT.by_name[alias] is DIAGNOSTIC_REPORT.by_name[name]


def test_every_type_of_r4_is_in_the_table() -> None:
    assert set(TYPES) == RESOURCE_TYPES
    assert all(name == row.name for name, row in TYPES.items())


@each_type
def test_names_are_unique_with_their_aliases(row: ResourceType) -> None:
    names = Counter(name for one in row.rows for name in (one.name, *one.aliases))
    assert [name for name, count in names.items() if count > 1] == []
    assert set(names) == set(row.by_name)


@each_type
def test_at_most_one_clinical_date(row: ResourceType) -> None:
    assert sum(one.when for one in row.rows) <= 1


@each_type
def test_fields_are_unique(row: ResourceType) -> None:
    fields = [one.field for one in row.rows if one.type is not SearchType.SPECIAL]
    assert len(fields) == len(set(fields))


@each_row
def test_it_is_defined_or_documented(row: ResourceType, parameter: Parameter) -> None:
    assert parameter.definition.startswith(SP) or parameter.documentation
    assert parameter.definition != SP


@each_row
def test_a_definition_is_its_types_own_or_one_that_r4_shares(row: ResourceType, parameter: Parameter) -> None:
    if parameter in COMMON or parameter.type is SearchType.SPECIAL:
        return
    if (row.name, parameter.name) in OURS:
        assert not parameter.definition
        return
    owner, _, name = parameter.definition.removeprefix(SP).partition("-")
    assert name == parameter.name
    assert owner == row.name or f"{owner}-{name}" in SHARED


@each_row
def test_an_identifier_is_registered_where_r4_has_it(row: ResourceType, parameter: Parameter) -> None:
    if parameter.name == "identifier":
        owner = "clinical" if row.name in SHARED_IDENTIFIER else row.name
        assert parameter.definition == f"{SP}{owner}-identifier"


@each_row
def test_references_have_targets_and_the_targets_are_known(row: ResourceType, parameter: Parameter) -> None:
    assert bool(parameter.targets) is (parameter.type is SearchType.REFERENCE)
    assert set(parameter.targets) <= set(TYPES)
    assert len(set(parameter.targets)) == len(parameter.targets)


@each_row
def test_a_patient_parameter_is_about_patients_only(row: ResourceType, parameter: Parameter) -> None:
    if parameter.name == "patient":
        assert (parameter.only, parameter.targets) == ("Patient", ("Patient",))
    elif parameter.only is not None:
        assert (row.name, parameter.name, parameter.targets) == (
            "Encounter",
            "practitioner",
            (parameter.only,),
        )


@each_row
def test_what_is_keyed_under_a_narrower_row_finds_it_there(row: ResourceType, parameter: Parameter) -> None:
    if parameter.narrower is not None:
        narrower = row.by_name[parameter.narrower]
        assert narrower.keyed
        assert narrower.only in parameter.targets
        assert narrower.expression == parameter.expression


@each_row
def test_what_it_is_made_of_is_there(row: ResourceType, parameter: Parameter) -> None:
    if parameter.members:
        assert parameter.type in (SearchType.SPECIAL, SearchType.COMPOSITE)
        assert {member.partition(".")[0] for member in parameter.members} <= set(row.by_name)
    elif parameter.type is SearchType.COMPOSITE:
        assert all(part.paths for part in parameter.components)
        assert parameter.paths or {part.name for part in parameter.components} <= set(row.by_name)
    else:
        assert parameter.paths or parameter.field in {"id", "type", "updated", "index._content"}
        assert not parameter.components


@each_row
def test_only_tokens_are_keyed_with_the_patient_and_only_beside_one(
    row: ResourceType, parameter: Parameter
) -> None:
    if parameter.scoped:
        assert parameter.type is SearchType.TOKEN
        assert "patient" in row.by_name
    if parameter.when:
        assert parameter.type is SearchType.DATE
        assert parameter.field == "when"


@pytest.mark.parametrize("name", ["identifier", "_id", "accession", "requisition"])
def test_identifiers_and_ids_keep_their_case(name: str) -> None:
    assert not any(row.by_name[name].folded for row in TYPES.values() if name in row.by_name)


def test_what_has_no_value_of_its_own_cannot_be_sorted_by() -> None:
    assert {row.name for row in DIAGNOSTIC_REPORT.rows if not row.sortable} == {"order", "_text", "_content"}
