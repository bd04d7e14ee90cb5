"""Search cases of values: dates, instants, tokens, references. A chart is searched, a case is a row."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from tests.support.fhir import CATEGORY, LOINC, MRN, coded, identified, patient, refers, report

Json = dict[str, Any]
Chart = tuple[Json, ...]
NPI: Final = "http://hl7.org/fhir/sid/us-npi"
UCUM: Final = "http://unitsofmeasure.org"
VISITS: Final = "urn:example:visits"
PLACERS: Final = "urn:example:placers"


class Case(NamedTuple):
    """Row: the query, and the ids of its matches in any order; a number is the refusal's status."""

    query: str
    found: str | int
    include: str | None = None
    """Resources that come along, when it matters."""
    prefer: str | None = None


def _dated(id: str, text: str | None = None, **elements: Any) -> Json:
    return report(id, **({} if text is None else {"effectiveDateTime": text}), **elements)


def _spanning(id: str, start: str | None, end: str | None) -> Json:
    named = {"start": start, "end": end}
    return report(id, effectivePeriod={name: text for name, text in named.items() if text is not None})


# --- dates: https://hl7.org/fhir/R4/search.html#prefix

DATES: Final = (
    _dated("y", "2021"),
    _dated("m", "2021-06"),
    _dated("d", "2021-06-15"),
    _dated("min", "2021-06-15T10:30:00Z"),
    _dated("ms", "2021-06-15T10:30:00.250Z"),
    _dated("zone", "2021-06-16T01:30:00+03:00"),
    _spanning("june", "2021-06-01", "2021-06-30"),
    _spanning("noon", "2021-06-15T09:00:00Z", "2021-06-15T12:00:00Z"),
    _spanning("open", "2021-06-15", None),
    _spanning("until", None, "2021-06-14"),
    _dated("none"),
)
DATE_CASES: Final = (
    Case("date=2021", "y m d min ms zone june noon"),
    Case("date=eq2021-06", "m d min ms zone june noon"),
    Case("date=2021-06-15", "d min ms zone noon"),
    Case("date=2021-06-15T10:30Z", "min ms"),
    Case("date=2021-06-15T10:30:00Z", "min ms"),
    Case("date=2021-06-15T10:30:00.250Z", "ms"),
    Case("date=2021-06-15T10:30:00", "min ms"),
    Case("date=2021-06-15T22:30:00Z", "zone"),
    Case("date=2021-06-15T23:30:00%2B01:00", "zone"),
    Case("date=2021-06-15T19:30:00-03:00", "zone"),
    Case("date=ne2021-06-15", "y m june open until"),
    Case("date=gt2021-06-15", "y m june open"),
    Case("date=gt2021-06-30", "y open"),
    Case("date=lt2021-06-15", "y m june until"),
    Case("date=ge2021-06-15", "y m d min ms zone june noon open"),
    Case("date=le2021-06-15", "y m d min ms zone june noon until"),
    Case("date=le2021-06-14", "y m june until"),
    Case("date=sa2021-06-14", "d min ms zone noon open"),
    Case("date=sa2021-06-15T10:30:00Z", "zone"),
    Case("date=eb2021-06-15", "until"),
    Case("date=eb2021-06-15T12:00:01Z", "min ms noon until"),
    Case("date=eb2021-06-15T12:00:00Z", "min ms until"),
    Case("date=ap2021-06-15T10:30:00Z&date=lt2021-06-15T10:00:00Z", "y m d june noon open until"),
    # What straddles the instant reaches past it on either side.
    Case("date=ge2021-06-15T10:30:00.250Z&date=le2021-06-15T10:30:00.250Z", "y m d min ms june noon open"),
    Case("date=eq2021-06-15T10:30:00.2Z", ""),
    Case("date=lt2021-06,gt2021-12", "y until open"),
    Case("date=sa2021-06-14&date=eb2021-06-16", "d min ms zone noon"),
    Case("date:missing=true", "none"),
    Case("date:missing=false", "y m d min ms zone june noon open until"),
    Case("date=2021-06-15T10:30:00+01:00", 400),
    Case("date=2021-6-15", 400),
    Case("date=20210615", 400),
    Case("date=2021-06-15T10Z", 400),
    Case("date=2021-06-15T25:00Z", 400),
    Case("date=2021-02-29", 400),
    Case("date=2021-00", 400),
    Case("date=GE2021", 400),
    Case("date=gte2021", 400),
    Case("date=ge%202021", 400),
    Case("date=ge", 400),
    Case("date=2021-06-15%7C2021-06-16", 400),
    Case("date:exact=2021", 400),
    Case("date=2021,bad", 400),
)

INSTANTS: Final = (
    _dated("whole", issued="2022-03-01T10:00:00Z"),
    _dated("part", issued="2022-03-01T10:00:00.500Z"),
    _dated("next", issued="2022-03-01T10:00:01Z"),
    _dated("east", issued="2022-03-01T12:00:00+02:00"),
    _dated("never"),
)
INSTANT_CASES: Final = (
    Case("issued=2022-03-01T10:00:00Z", "whole part east"),
    Case("issued=2022-03-01T10:00:00.000Z", ""),
    Case("issued=2022-03-01T10:00:00.500Z", "part"),
    Case("issued=gt2022-03-01T10:00:00Z", "next"),
    Case("issued=ge2022-03-01T10:00:00.500Z", "part next whole east"),
    Case("issued=lt2022-03-01T10:00:00.500Z", "whole east"),
    Case("issued=le2022-03-01T10:00:00.500Z", "whole part east"),
    Case("issued=eb2022-03-01T10:00:00Z", ""),
    Case("issued=ne2022-03-01T10:00:00Z", "next"),
    Case("issued=2022-03", "whole part next east"),
    Case("issued:missing=true", "never"),
    Case("_lastUpdated=ge2020&issued=sa2022-03-01T10:00:00Z", "next"),
    Case("_lastUpdated=lt2020", ""),
    Case("_lastUpdated=soon", 400),
)


# --- tokens and identifiers: https://hl7.org/fhir/R4/search.html#token

TOKENS: Final = (
    report(
        "lab", category=[coded("LAB", CATEGORY)], code=coded("A,b"), conclusionCode=[coded("c1", "urn:s")]
    ),
    report("old", category=[coded("lab", "http://hl7.org/fhir/v2/0074")], code=coded("a|B", "urn:s")),
    report(
        "two",
        category=[coded("LAB", CATEGORY), coded("LP29684-5")],
        code={"coding": [{"code": "x$y"}, {"system": LOINC, "code": "c1"}], "text": "Blood count, complete"},
        status="preliminary",
    ),
    report("bare", category=[coded("LAB", None)], code=coded("c\\d", None), status="entered-in-error"),
    report("text", code={"text": "Count of blood cells"}, conclusionCode=[{"text": "free words"}]),
    report(
        "ids",
        identifier=[
            {**identified("urn:s", "AB|1"), "type": coded("FILL", "urn:kinds")},
            {"value": "ab,2"},
            {"system": "urn:only"},
        ],
        conclusionCode=[coded("c1", None), coded("c2", "urn:s")],
        meta={"tag": [{"system": "urn:tags", "code": "t1"}], "source": "urn:lab:1#m7"},
    ),
)
TOKEN_CASES: Final = (
    Case("category=LAB", "lab old two bare"),
    Case(f"category={CATEGORY}|lab", "lab old two"),
    Case("category=http://hl7.org/fhir/v2/0074|LAB", "lab old two"),
    Case(f"category={CATEGORY}|", "lab old two"),
    Case("category=|LAB", "bare"),
    Case("category=LAB&category=LP29684-5", "two"),
    Case(f"category={LOINC}|LAB", ""),
    Case("category:not=LAB", "text ids"),
    Case(f"category:not={CATEGORY}|LAB", "bare text ids"),
    Case("category:not=LAB&category:missing=false", ""),
    Case("category:missing=true", "text ids"),
    Case(r"code=a\,B", "lab"),
    Case(r"code=A\|b", "old"),
    Case(r"code=urn:s|a\|b", "old"),
    Case(r"code=x\$y", "two"),
    Case("code=x$y", "two"),
    Case(r"code=c\\d", "bare"),
    Case(r"code=|c\\d", "bare"),
    Case(r"code=a\,b,c1", "lab two"),
    Case("code=%61%5C%2Cb", "lab"),
    Case("code=A,b", ""),
    Case("code=c", ""),
    Case(r"code=a\b", 400),
    Case("code=a\\", 400),
    Case("code=urn:s|a|b", 400),
    Case("code=|", 400),
    Case("code:text=blood", "two text"),
    Case("code:text=BLOOD count", "two"),
    Case("code:text=c1", ""),
    Case("code:text=cells,complete", "two text"),
    Case("code:not=c1", "lab old bare text ids"),
    Case("conclusion=c1", "lab ids"),
    Case("conclusion=urn:s|c1", "lab"),
    Case("conclusion=|c1", "ids"),
    Case("conclusion:not=urn:s|c1", "old two bare text ids"),
    Case("conclusion:missing=true", "old two bare"),
    Case("conclusion:text=free", "text"),
    Case("status=entered-in-error", "bare"),
    Case("status=FINAL", "lab old text ids"),
    Case("status:not=final", "two bare"),
    Case("status:not=final,preliminary", "bare"),
    Case("status=http://hl7.org/fhir/diagnostic-report-status|preliminary", "two"),
    Case("status=|preliminary", ""),
    Case("status=urn:other|preliminary", ""),
    Case("status=final,preliminary,cancelled", "lab old two text ids"),
    Case("status=,,preliminary", "two"),
    Case("status=", "lab old two bare text ids"),
    Case("status=nonsense", ""),
    Case(r"identifier=AB\|1", "ids"),
    Case(r"identifier=ab\|1", ""),
    Case(r"identifier=urn:S|AB\|1", ""),
    Case(r"identifier=|ab\,2", "ids"),
    Case(r"identifier=urn:s|ab\,2", ""),
    Case("identifier=urn:only|", "ids"),
    Case("identifier:not=urn:s|", "lab old two bare text"),
    Case(r"identifier:of-type=urn:kinds|FILL|AB\|1", "ids"),
    Case(r"identifier:of-type=urn:kinds|FILL|ab\,2", ""),
    Case("identifier:of-type=urn:kinds||x", 400),
    Case("identifier:missing=true", "lab old two bare text"),
    Case("identifier:missing=yes", 400),
    Case("identifier:missing=true,false", 400),
    Case("_tag=t1", "ids"),
    Case("_tag=urn:tags|t1", "ids"),
    Case("_tag:not=urn:tags|t1", "lab old two bare text"),
    Case("_source=urn:lab:1#m7".replace("#", "%23"), "ids"),
    Case("_source=urn:lab", ""),
    Case("_id=lab,two,nobody", "lab two"),
    Case("_id:not=lab,two", "old bare text ids"),
    Case("_id=LAB", ""),
)


# --- references: https://hl7.org/fhir/R4/search.html#reference

REFERENCES: Final = (
    report("rel", "p1"),
    report("abs", None, subject=refers("{BASE}/Patient/p1")),
    report("ver", None, subject=refers("Patient/p1/_history/3")),
    report("far", None, subject=refers("http://elsewhere.example/fhir/Patient/p1")),
    report("group", None, subject=refers("Group/p1")),
    report("log", None, subject={"type": "Patient", "identifier": identified(MRN, "7")}),
    report("urn", None, subject=refers("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0")),
    report("inner", None, contained=[patient("c", name=[{"family": "Inside"}])], subject=refers("#c")),
    report("none", None),
)
_ALL_REFERENCES: Final = "rel abs ver far group log urn inner none"
REFERENCE_CASES: Final = (
    Case("subject=Patient/p1", "rel abs ver"),
    Case("subject={BASE}/Patient/p1", "rel abs ver"),
    Case("subject=Patient%2Fp1", "rel abs ver"),
    Case("subject:Patient=p1", "rel abs ver"),
    Case("subject:Patient=Patient/p1", "rel abs ver"),
    Case("subject:Group=p1", "group"),
    Case("subject=Group/p1", "group"),
    Case("subject=p1", "rel abs ver group"),
    Case("patient=p1", "rel abs ver"),
    Case("patient=Group/p1", ""),
    Case("subject=Patient/p1/_history/3", "ver"),
    Case("subject=Patient/p1/_history/2", ""),
    Case("subject=http://elsewhere.example/fhir/Patient/p1", "far"),
    Case("patient=http://elsewhere.example/fhir/Patient/p1", "far"),
    Case("subject=http://elsewhere.example/fhir/Patient/p", ""),
    Case("subject=urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn"),
    Case("subject=Patient/p", ""),
    Case("subject=Patient/p1,Group/p1", "rel abs ver group"),
    Case("subject=Patient/p1&subject=Group/p1", ""),
    Case(f"subject:identifier={MRN}|7", "log"),
    Case("subject:identifier=7", "log"),
    Case(f"subject:identifier={MRN}|", "log"),
    Case("patient:identifier=|7", ""),
    Case(f"patient.identifier={MRN}|7", "log"),
    Case("subject:missing=true", "none"),
    Case("subject:missing=false", _ALL_REFERENCES.removesuffix(" none")),
    Case("patient:missing=true", "group urn none"),
    Case("encounter:missing=true", _ALL_REFERENCES),
    Case("subject:Group.name.x=1", 400, prefer="handling=strict"),
    Case("subject:Practitioner=p1", 400),
    Case("subject:patient=p1", 400),
    Case("subject:Patient=Group/p1", 400),
    Case("subject:identifier.value=7", 400),
    Case("subject:exact=Patient/p1", 400),
)
