"""Messages as a stranger might send them: what nobody names, what comes by other ways than messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.oracle.identity.hospital import number
from tests.support import hl7v2
from tests.support.cases import ROOT, all_of, fill, lines, mr, msg, obs, pat, rep
from tests.support.feed import send

if TYPE_CHECKING:
    from tests.support.service import Service

Json = dict[str, Any]
TIME: Final = {"effectiveDateTime": "2026-01-01T08:00:00Z"}
BOB: Final = {"name": "Bob", "born": "1960-02-02"}


def nobodys(resource: Json) -> Json:
    return {key: value for key, value in resource.items() if key != "subject"}


async def sends(lab: Service, *sent: Json) -> list[str]:
    for one in sent:
        answer = await send(lab, one)
        assert answer.status == 200, answer.text
    return await values(lab)


async def values(lab: Service) -> list[str]:
    found = []
    for one in await all_of(lab, "DiagnosticReport?"):
        told = [(await lab.get(result["reference"])).body for result in one.get("result", ())]
        found += [result["valueString"] for result in told]
    return sorted(found)


@pytest.mark.parametrize("own", ["r1", None])
@pytest.mark.parametrize("numbers", [(), (number("counts", "1"),)], ids=["no number", "1"])
@pytest.mark.parametrize("time", [{}, TIME], ids=["no time", "time"])
async def test_reports_of_nobody_of_two_messages(
    lab: Service, own: str | None, numbers: Any, time: Json
) -> None:
    def sent(minute: int) -> Json:
        report = nobodys(rep("r1", "x", *numbers, results=["Observation/k"], **time))
        result = nobodys(obs("k", "x", "K", f"{minute}"))
        if own is None:
            report.pop("id")
            report["result"] = [{"reference": f"{ROOT}/Observation/k"}]
            return msg({"fullUrl": "urn:uuid:r", "resource": report}, result, minute=minute)
        return msg(report, result, minute=minute)

    assert await sends(lab, sent(1), sent(2)) == ["1", "2"]
    assert await sends(lab, {**sent(1), "id": "again"}) == ["1", "2"]


async def test_the_same_entries_led_to_by_a_composition_and_a_report(lab: Service) -> None:
    """A document of its own about the results, sent later and changed: the report keeps its own."""
    result = obs("k", "Patient/1", "K", "4", **TIME)
    report = rep("r1", "Patient/1", fill("F"), results=["Observation/k"], **TIME)
    page = {
        "resourceType": "Composition",
        "id": "c",
        "status": "final",
        "type": {"text": "Letter"},
        "subject": {"reference": "Patient/1"},
        "date": "2026-01-01",
        "author": [{"display": "Lab"}],
        "title": "Letter",
        "section": [{"entry": [{"reference": "Observation/k"}]}],
    }
    first = msg(pat("1", mr("1")), report, result, page, minute=1)
    alone = msg(pat("1", mr("1")), {**result, "valueString": "9"}, page, minute=2)
    assert await sends(lab, first, alone) == ["4"]
    assert await sends(lab, {**first, "id": "again"}) == ["4"]


async def test_chains_of_results_of_two_patients_under_the_same_ids(lab: Service) -> None:
    def sent(minute: int, *who: Json, turned: bool = False) -> Json:
        value = f"{minute}"
        members = ["Observation/b", "Observation/a"] if turned else ["Observation/a", "Observation/b"]
        panel = obs("panel", "Patient/1", "P", value, hasMember=[{"reference": one} for one in members])
        a = obs("a", "Patient/1", "A", value, derivedFrom=[{"reference": "Observation/raw"}])
        b = obs("b", "Patient/1", "B", value)
        raw = obs("raw", "Patient/1", "raw", value, specimen={"reference": "Specimen/s"})
        specimen = {"resourceType": "Specimen", "id": "s", "type": {"text": value}}
        report = rep("r1", "Patient/1", fill("F"), results=["Observation/panel"])
        return msg(*who, report, panel, a, b, raw, specimen, minute=minute)

    ann, bob = pat("1", mr("1")), pat("1", mr("2"), **BOB)
    for one in (sent(1, ann), sent(2, bob), sent(3, ann, turned=True)):
        assert (await send(lab, one)).status == 200
    assert await lines(lab, "mr|1") == ["CBC final of Ann: P=3[A=3, B=3]"]
    assert await lines(lab, "mr|2") == ["CBC final of Bob: P=2[A=2, B=2]"]
    raw = [one for one in await all_of(lab, "Observation?") if one["code"]["text"] == "raw"]
    told = [
        (one["valueString"], (await lab.get(one["specimen"]["reference"])).body["type"]["text"])
        for one in raw
    ]
    assert sorted(told) == [("2", "2"), ("3", "3")]


async def test_files_of_two_patients_under_one_id(lab: Service) -> None:
    def sent(minute: int, who: Json, data: str) -> Json:
        report = rep(
            "r1",
            "Patient/1",
            fill(f"F{minute}"),
            presentedForm=[{"contentType": "text/plain", "url": "Binary/9"}],
        )
        file = {"resourceType": "Binary", "id": "9", "contentType": "text/plain", "data": data}
        return msg(who, report, file, minute=minute)

    texts = {"1": "QW5u", "2": "Qm9i"}
    people = {"1": pat("1", mr("1")), "2": pat("1", mr("2"), **BOB)}
    for name, who in people.items():
        assert (await send(lab, sent(int(name), who, texts[name]))).status == 200
    for name, text in (("1", b"Ann"), ("2", b"Bob")):
        [found] = await all_of(lab, f"DiagnosticReport?patient.identifier=urn:made-up:mr|{name}")
        url = found["presentedForm"][0]["url"]
        answer = await lab.request("GET", url, headers={"Accept": "text/plain"})
        assert text in answer.raw if hasattr(answer, "raw") else text.decode() in answer.text


async def test_what_is_put_with_other_news_of_the_same_report(lab: Service) -> None:
    """A report of a message is put with another status by a person, then corrected by its source."""
    first = msg(
        pat("1", mr("1")),
        rep("r1", "Patient/1", fill("F"), results=["Observation/k"]),
        obs("k", "Patient/1", "K", "1"),
        minute=1,
    )
    assert await sends(lab, first) == ["1"]
    [stored] = await all_of(lab, "DiagnosticReport?")
    assert (
        await lab.request("PUT", f"DiagnosticReport/{stored['id']}", {**stored, "status": "amended"})
    ).status == 200
    again = msg(
        pat("1", mr("1")),
        rep("r1", "Patient/1", fill("F"), status="corrected", results=["Observation/k"]),
        obs("k", "Patient/1", "K", "2"),
        minute=59,
    )
    assert len(await sends(lab, again)) == 1
    assert len(await all_of(lab, "DiagnosticReport?")) == 1


async def test_a_conditional_create_and_a_message_of_one_number(lab: Service) -> None:
    report = rep("r1", "Patient/1", fill("F"))
    body = {key: value for key, value in report.items() if key != "id"}
    [who] = [pat("1", mr("1"))]
    assert (await send(lab, msg(who, minute=0))).status == 200
    [ann] = await all_of(lab, "Patient?")
    body["subject"] = {"reference": f"Patient/{ann['id']}"}
    named = {"If-None-Exist": "identifier=urn:made-up:fillers|F"}
    assert (await lab.request("POST", "DiagnosticReport", body, headers=named)).status == 201
    assert (await send(lab, msg(who, {**report, "status": "corrected"}, minute=1))).status == 200
    assert await lines(lab, "mr|1") == ["CBC corrected of Ann"]
    assert (await lab.request("POST", "DiagnosticReport", body, headers=named)).status == 200
    assert await lines(lab, "mr|1") == ["CBC corrected of Ann"]


async def test_two_patients_in_one_message_of_hl7_with_one_filler(lab: Service) -> None:
    ann = "PID|1||1^^^HOSP^MR||A^ANN||19500101|F"
    bob = "PID|2||2^^^HOSP^MR||B^BOB||19600202|M"
    k = "2823-3^Potassium^LN"
    both = hl7v2.message(ann, hl7v2.obr("7"), hl7v2.obx(k, "1"), bob, hl7v2.obr("7"), hl7v2.obx(k, "2"))
    await hl7v2.send(lab, both)
    later = hl7v2.message(bob, hl7v2.obr("7"), hl7v2.obx(k, "3"), number="M-2", time="20261122104000+0000")
    await hl7v2.send(lab, later)
    for number_, value in (("1", 1), ("2", 3)):
        found = await hl7v2.results(lab, f"patient.identifier={number_}")
        assert [one["valueQuantity"]["value"] for one in found] == [value]


async def test_reports_about_things_and_places(lab: Service) -> None:
    """Subjects that are no patients, under the same local ids."""

    def sent(minute: int, name: str) -> Json:
        place = {"resourceType": "Location", "id": "1", "name": name}
        report = {
            **rep("r1", "Location/1", fill("F"), results=["Observation/k"]),
            "subject": {"reference": "Location/1"},
        }
        result = {**obs("k", "Location/1", "K", f"{minute}"), "subject": {"reference": "Location/1"}}
        return msg(place, report, result, minute=minute)

    assert await sends(lab, sent(1, "Ward"), sent(2, "Pool"), sent(3, "Ward")) == ["2", "3"]
    told = {}
    for one in await all_of(lab, "DiagnosticReport?"):
        where = (await lab.get(one["subject"]["reference"])).body["name"]
        told[where] = (await lab.get(one["result"][0]["reference"])).body["valueString"]
    assert told == {"Ward": "3", "Pool": "2"}


@pytest.mark.parametrize("first", [0, 1, 2])
async def test_a_merge_chain_by_links_old_numbers_and_hl7(lab: Service, first: int) -> None:
    """Three records, merged one into the next, in any order."""
    reports = [msg(pat("1", mr(n)), rep("r", "Patient/1", fill(f"F{n}")), minute=5) for n in "123"]
    merges = [
        msg(pat("1", mr("2"), mr("1", use="old")), minute=6),
        msg(pat("1", mr("3"), mr("2", use="old")), minute=7),
    ]
    order = [*reports, *merges]
    order = order[first:] + order[:first]
    for one in order:
        assert (await send(lab, one)).status == 200
    for n in "23":
        assert await lines(lab, f"mr|{n}") == ["CBC final of Ann"] * 3, n


async def test_results_by_themselves_and_within_a_report_of_merged_patients(lab: Service) -> None:
    """A result by itself under the retired number is the one that the survivor's report brings."""
    named = number("results", "R-1001")
    alone = msg(pat("1", mr("1")), obs("k", "Patient/1", "K", "1", named, **TIME), minute=1)
    merge = msg(pat("1", mr("2"), mr("1", use="old")), minute=2)
    result = obs("k", "Patient/1", "K", "3", named, **TIME)
    report = rep("r1", "Patient/1", fill("F"), results=["Observation/k"])
    within = msg(pat("1", mr("2")), report, result, minute=3)
    last = msg(pat("1", mr("1")), {**result, "valueString": "4"}, minute=4)
    for one, value in ((alone, "1"), (merge, "1"), (within, "3"), (last, "4")):
        assert (await send(lab, one)).status == 200
        assert [one["valueString"] for one in await all_of(lab, "Observation?")] == [value]
    assert await values(lab) == ["4"]


async def test_another_order_of_the_same_two_messages_of_a_bare_report(lab: Service) -> None:
    """The older one comes last: it goes to the history."""

    def sent(minute: int, *numbers: Json) -> Json:
        subject = {"subject": {"reference": f"{ROOT}/Patient/1"}}
        report = {**rep("r", "Patient/1", results=[f"{ROOT}/Observation/k"], **TIME), **subject}
        report.pop("id")
        entry = {"fullUrl": "urn:uuid:r", "resource": report}
        return msg(pat("1", *numbers), entry, obs("k", "Patient/1", "K", f"{minute}"), minute=minute)

    merge = msg(pat("1", mr("2"), mr("1", use="old")), minute=0)
    assert await sends(lab, merge, sent(5, mr("2")), sent(1, mr("1"))) == ["5"]
    assert len(await all_of(lab, "DiagnosticReport?")) == 1


async def test_bare_reports_of_two_patients_and_two_codes_of_one_minute(lab: Service) -> None:
    def sent(minute: int, who: Json, code: str, **more: Any) -> Json:
        report = {
            **rep("r", "Patient/1", code=code, **TIME),
            "subject": {"reference": f"{ROOT}/Patient/1"},
            **more,
        }
        report.pop("id")
        return msg(who, {"fullUrl": "urn:uuid:r", "resource": report}, minute=minute)

    ann, bob = pat("1", mr("1")), pat("1", mr("2"), **BOB)
    for minute, (who, code) in enumerate(((ann, "CBC"), (bob, "CBC"), (ann, "CMP"), (ann, "CBC"))):
        assert (await send(lab, sent(minute, who, code))).status == 200
    other = {"specimen": [{"identifier": number("s", "S-1"), "display": "blood"}]}
    assert (await send(lab, sent(8, ann, "CBC", status="corrected", **other))).status == 200
    assert await lines(lab, "mr|2") == ["CBC final of Bob"]
    assert len(await lines(lab, "mr|1")) == 2


@pytest.mark.parametrize("way", ["batch", "transaction"])
async def test_a_report_that_was_put_with_a_result_under_local_ids(lab: Service, way: str) -> None:
    """Ids of a Bundle are the store's: a message with the same ones is about something else."""
    put = [
        pat("p1", mr("1")),
        rep("r1", "Patient/p1", results=["Observation/k"], **TIME),
        obs("k", "Patient/p1", "K", "1", **TIME),
    ]
    entries = [
        {"resource": one, "request": {"method": "PUT", "url": f"{one['resourceType']}/{one['id']}"}}
        for one in put
    ]
    bundle = {"resourceType": "Bundle", "type": way, "entry": entries}
    assert (await lab.request("POST", "", bundle)).status == 200
    bob = pat("p1", mr("2"), **BOB)
    news = msg(
        bob,
        rep("r1", "Patient/p1", results=["Observation/k"], **TIME),
        obs("k", "Patient/p1", "K", "2", **TIME),
        minute=5,
    )
    assert await sends(lab, news) == ["1", "2"]
    assert await lines(lab, "mr|1") == ["CBC final of Ann: K=1"]
    assert await lines(lab, "mr|2") == ["CBC final of Bob: K=2"]


async def test_a_result_by_itself_of_a_patient_named_by_number_and_within_a_report(lab: Service) -> None:
    named = number("results", "R-1001")
    alone = {**obs("k", "x", "K", "1", named, **TIME), "subject": {"identifier": mr("1")}}
    report = rep("r1", "Patient/1", fill("F"), results=["Observation/k"])
    within = msg(pat("1", mr("1")), report, obs("k", "Patient/1", "K", "2", named, **TIME), minute=2)
    for one, value in (
        (msg(alone, minute=1), "1"),
        (within, "2"),
        (msg({**alone, "valueString": "3"}, minute=3), "3"),
    ):
        assert (await send(lab, one)).status == 200
        assert [one["valueString"] for one in await all_of(lab, "Observation?")] == [value]
    assert await values(lab) == ["3"]


@pytest.mark.parametrize("merged", [True, False], ids=["merged", ""])
@pytest.mark.parametrize("numbers", [(fill("F"),), ()], ids=["numbered", "without"])
async def test_a_patient_named_by_the_address_that_this_service_gave(
    lab: Service, numbers: tuple[Json, ...], merged: bool
) -> None:
    """A report of a stored Patient, and again with the Patient along, or under the survivor's number."""
    assert (await send(lab, msg(pat("1", mr("1")), minute=1))).status == 200
    [ann] = await all_of(lab, "Patient?")
    base = str(lab.client.make_url(f"/fhir/R4/{lab.tenant.organization}/{lab.tenant.environment}"))
    address = f"{base}/Patient/{ann['id']}"

    def sent(minute: int, subject: str, *who: Json) -> Json:
        said = {"subject": {"reference": subject}}
        report = {**rep("r1", "x", *numbers, results=["Observation/k"], **TIME), **said}
        return msg(*who, report, {**obs("k", "x", "K", f"{minute}", **TIME), **said}, minute=minute)

    assert await sends(lab, sent(2, address)) == ["2"]
    number_ = "2" if merged else "1"
    if merged:
        assert (await send(lab, msg(pat("1", mr("2"), mr("1", use="old")), minute=3))).status == 200
    assert await sends(lab, sent(4, "Patient/1", pat("1", mr(number_)))) == ["4"]
    assert await sends(lab, sent(5, address)) == ["5"]
    assert len(await all_of(lab, "DiagnosticReport?")) == 1
