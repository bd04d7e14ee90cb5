"""`docs/data-model.md`, made from the rows of the mapping."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ingest.data_model import codecs, mapping

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD: Final = """
# Upstream's Data Model

For integration engineers. Sources that speak upstream's Data Model JSON push here unchanged.

| request | what it takes |
|---|---|
| `POST /endpoint` | `Results.New`, `Results.NewUnsolicited`; the tenant is that of `Meta.Destinations` |
| `POST /query` | `Results.Query`, `PatientSearch.Query`; the tenant is that of `Meta.Destinations` |
| `POST /upload` | a file as `multipart/form-data`: below; `POST {base}/$upload` for the tenant of the URL |
| `GET /data-model/schema` | nothing, no token either: it is the shape of these messages, as JSON Schema |
| `POST {base}/$data-model` | the same for the tenant of the URL; endpoint verification may come here |

A message becomes a FHIR message and goes the way of those: the rules of [identity.md](identity.md) hold,
older messages (`Meta.EventDateTime`) never replace newer ones, the same again changes nothing. Later
messages correct by status: `ResultsStatus` `Corrected` or `Canceled`, and `Status` `Deleted` of a result,
which becomes `entered-in-error`.

The answer is 200 once all of it is journaled on a majority. `Meta.Logs[].ID` is the request's id, as in
`X-Request-Id` and in our logs; `Meta.Warnings[]` names what the message says and nothing maps, doubts
about who is who ([identity.md](identity.md)), and that it came too late. Errors are
4xx or 5xx, with `Meta.Errors[]`: `Text` is the rule, `Path` the JSON path, `Code` FHIR's issue code;
never a value. What is refused for its content is a dead letter (`Dead-Letter` names it), and is replayed
through `{base}/$data-model`; a body that cannot be read is one where the token is for one tenant alone.
When a part of a message is refused, the answer is 422 with these parts, the rest is stored, and the whole
message is the letter.

The content of a message says what is the same: it may be sent again at any time, and an `Idempotency-Key`
adds nothing.

## Files

A file is embedded as base64, named by a URL of the source's own, or uploaded first:

```sh
curl -X POST http://127.0.0.1:8080/upload -H "Authorization: Bearer $TOKEN" \\
  -F 'file=@samples/results-new.txt;type=text/plain'
```

201, with `{"URI": "…/blob/…"}`, which goes into `Value` of a result with `ValueType` `Encapsulated Data`.
The report then has the file itself, with the type of `FileType`, else of the upload. The URI is good for
the client and the tenant of the upload, and for `DOD_UPLOAD_SECONDS`, a day; any other is refused with its
place, and so is a FHIR resource of anybody else's that names the file. A token for several tenants says
which: `?destination=` has an id as in `Meta.Destinations`, or `ORG/ENV`. A file may have
`DOD_UPLOAD_BYTES_MAX`, 30 MB; a larger one is 413. It is read by nobody until a message refers to it, and is
deleted when none does in time. An embedded one has the same bound.

Nobody knows whom such a file is about. When a patient of the tenant is erased, the files that wait have one
more hour: a message that names one by then keeps it, the others are deleted with the next collection, and a
later message that names one is refused with its place: upload it again.

## Destinations and sources

The token says which tenants a message may be for. Of these it is for the one that
`Meta.Destinations[].ID` names: by the sources file (`DOD_MLLP_SOURCES`, which [hl7v2.md](hl7v2.md)
describes), or as `ORG/ENV`. Without destinations the declared source decides. A token for one tenant, for
which no destination is declared, needs no destination. A message with a destination that is a tenant of
somebody else, declared or as `ORG/ENV`, is 403 as a whole. Messages with `Meta.Test` never go into
`Production`: 403.

```toml
[[destination]]
id = "af394f14-b34a-464f-8d24-895f370af4c9" # Meta.Destinations[].ID
tenant = "acme/Production"

[[source]]
name = "main-lab"
tenant = "acme/Production"
data_model = ["7ce6f387-c33c-417d-8682-81e83628cbd9"] # Meta.Source.ID
profile = "main-lab.toml"
sending_application = "LIS" # it sends HL7 v2 too
```

The profile is that of HL7 v2: `endpoint`, `authorities` (here by IDType), `default_authority` (of record
numbers: `MR`, `PI`), `default_order_authority` (of `ID` and `ApplicationOrderID`), `identifier_types`,
`category`. Where it says the same as the FHIR that the source sends, the same result in three formats is
one report. Without it a number's system is `urn:redox:{organization}:{IDType}`, that of an order
`urn:redox:{organization}:OrderID` or `…:ApplicationOrderID`.

## Queries

`Results.Query` takes `Patients[].Identifiers[]` (of one patient all must agree), `OrderIDs`,
`ResultStatuses`, `Procedures` (codes, or objects with `Code`) and `Completion`; all that is given holds
at once. The answer, `QueryResponse`, has `Orders[]`, each with its `Patient` and `Visit`, of reports that
came as Data Model, HL7 v2 or FHIR. `Meta.IsIncomplete` says that there are more than
`DOD_QUERY_ORDERS_MAX`, or than a page may hold: ask again for less. It takes a token with `rs` on
DiagnosticReport and Patient, and shows of other types what the token may read. An identifier is found in
whatever system it is stored, if its type agrees with `IDType`.

`PatientSearch.Query` finds who has all that `Patient` says: identifiers as they are, the rest whatever
its case. It needs an identifier, an SSN, or a name with `DOB`, phone number or e-mail address, and a token
with `rs` on Patient.
`Response` has the one as `Patient`, several as `PotentialMatches`.

A large document is its URL, a Binary, in `Value`.

## Required

`Meta.DataModel`, `Meta.EventType`; an identifier of the patient, or `LastName` and `DOB`; for each order
`ID` (`New`) or `ApplicationOrderID` (`NewUnsolicited`); for each result `Code` or `Description`.
Everything else may be null or missing. Words are taken whatever their capitals; a time without a zone is in
that of the source's profile, else UTC (`Meta.EventDateTime` must have one). A time, a number or a word that
nobody knows is kept as it was sent, found by no search, and named in `Meta.Warnings[]`. Numbers are taken for
text, empty texts for null, one object for a list of one, and a list of one for what is in it. An `IDType`
without `ID` is not kept, and named there too; a result without `ValueType` comes back as `String`. A
message has at most 100,000 values and 20,000 objects (413).

## Mapping

What an element cannot hold as it was sent stands beside it in an extension `urn:dod:data-model:{path}`.


"""


def page() -> str:
    """Text of `docs/data-model.md`."""
    return "\n".join(["<!-- Made by `make docs`. Do not edit. -->", *_HEAD.splitlines(), "", *_lines()])


def _lines() -> Iterator[str]:
    for table in (
        mapping.PATIENT,
        mapping.CONTACT,
        mapping.VISIT,
        mapping.PLACE,
        mapping.REPORT,
        mapping.REQUEST,
        mapping.RESULT,
        mapping.RANGE,
        mapping.PROVIDER,
        mapping.ORGANIZATION,
        mapping.SPECIMEN,
    ):
        yield f"### {table.name} → {table.element}"
        yield ""
        rows = ((row.path, row.element, row.codec.name, row.note) for row in table.rows)
        yield from _table(("Data Model", "FHIR", "type", ""), rows)
    yield "### Across elements"
    yield ""
    yield from _table(("Data Model", "FHIR", ""), mapping.BY_HAND)
    yield "### Values, by ValueType"
    yield ""
    yield from _table(("ValueType", "FHIR", ""), mapping.VALUES)
    yield "### Codes"
    yield ""
    yield from _table(("of", "codes"), ((name, _words(codec)) for name, codec in _CODES))
    yield "### Not mapped"
    yield ""
    yield from _table(("path", ""), mapping.UNMAPPED)


_CODES: Final = (
    ("ResultsStatus", codecs.REPORT_STATUS),
    ("Results[].Status", codecs.RESULT_STATUS),
    ("AbnormalFlag", codecs.FLAG),
    ("Orders[].Status", codecs.ORDER_STATUS),
    ("Priority", codecs.PRIORITY),
    ("PatientClass", codecs.CLASS),
    ("Sex", codecs.SEX),
    ("MaritalStatus", codecs.MARITAL),
)


def _words(codec: codecs.Codec) -> str:
    return ", ".join(f"{word} `{code}`" for word, code in codec.table.items())


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""
