"""Compressed and indented answers, OPTIONS and CORS, and whom of the proxies is believed."""

from __future__ import annotations

import asyncio
import gzip
import json
import zlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import brotli
import pytest
from backports import zstd
from hypothesis import given
from hypothesis import strategies as st

from api.auth.doorkeeper import Doorkeeper
from api.http.pretty import indented
from api.middleware.compress import chosen
from api.settings.service import Settings
from ingest.http.forwarded import Forwarded, is_trusted, networks, read
from store.errors import Category, ServiceError, StartupError
from store.tenancy import Tenant, TenantSettings
from tests.support.edge import LAB, NOW, OTHER, memory_access, serving
from tests.support.fhir import report
from tests.support.service import opened_service

if TYPE_CHECKING:
    from tests.support.service import Service

MAKERS = {"gzip": gzip.decompress, "br": brotli.decompress, "zstd": zstd.decompress}


async def raw(service: Service, method: str, path: str, **headers: str) -> tuple[int, Any, bytes]:
    """Without the client's own inflation."""
    session = service.client.session
    before, session._auto_decompress = session._auto_decompress, False
    try:
        where = service.client.make_url(f"{service.root}/{path}".rstrip("/"))
        sent = {**service.headers, "Accept-Encoding": "identity", **headers}
        async with session.request(method, where, headers=sent) as response:
            return response.status, response.headers, await response.read()
    finally:
        session._auto_decompress = before


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip, deflate, br", "br"),
        ("gzip;q=1.0, br;q=0.5", "gzip"),
        ("br;q=0, gzip;q=0.1", "gzip"),
        ("*", "zstd"),
        ("*;q=0.5, zstd;q=0", "br"),
        ("identity", None),
        ("", None),
        ("deflate", None),
        ("gzip;q=0", None),
        ("gzip;q=0.5, identity;q=1", None),
        ("gzip;q=x", None),
        ("gzip;q=nan, gzip;level=9", None),
    ],
)
def test_the_coding_that_a_client_likes_best(accept: str, coding: str | None) -> None:
    assert chosen(accept) == coding


async def test_large_answers_are_compressed(service: Service) -> None:
    _, _, plain = await raw(service, "GET", "metadata")
    for coding, inflate in MAKERS.items():
        status, headers, body = await raw(service, "GET", "metadata", **{"Accept-Encoding": coding})
        assert (status, headers["Content-Encoding"], headers["Vary"]) == (200, coding, "Accept-Encoding")
        assert int(headers["Content-Length"]) == len(body) < len(plain) / 5
        assert inflate(body) == plain
        known = {"Accept-Encoding": coding, "If-None-Match": headers["ETag"]}
        assert (await raw(service, "GET", "metadata", **known))[0] == 304
    await service.load(*(report(f"r{n}", conclusion=f"{n} " * 500) for n in range(40)))
    _, headers, found = await raw(
        service, "GET", "DiagnosticReport?patient=Patient/p1", **{"Accept-Encoding": "gzip"}
    )
    assert headers["Content-Encoding"] == "gzip"
    assert headers["Cache-Control"] == "no-store"
    assert json.loads(zlib.decompress(found, wbits=31))["total"] == 40


async def test_what_is_small_or_a_document_stays_as_it_is(service: Service) -> None:
    await service.load(report("r1"))
    accept = {"Accept-Encoding": "gzip"}
    _, headers, _ = await raw(service, "GET", "DiagnosticReport/r1", **accept)
    assert "Content-Encoding" not in headers
    text = json.dumps({"made": "up " * 20_000}).encode()
    answer = await service.request("POST", "Binary", data=text, content_type="text/plain")
    place = answer.headers["Location"].partition("/_history")[0].partition("/Binary/")[2]
    status, headers, body = await raw(service, "GET", f"Binary/{place}", **accept, Accept="text/plain")
    assert (status, body) == (200, text)
    assert "Content-Encoding" not in headers
    status, headers, body = await raw(
        service, "GET", f"Binary/{place}", **accept, Accept="text/plain", Range="bytes=0-99"
    )
    assert (status, body) == (206, text[:100])


async def test_pretty(service: Service) -> None:
    body = report("r1", valueDecimal="x", conclusion='a "quoted, {text}": [x] \\ é')
    text = json.dumps(body)[:-1] + ', "extension": [{"url": "urn:x", "valueDecimal": 1.00}], "contained": []}'
    await service.request("PUT", "DiagnosticReport/r1", data=text.replace('"valueDecimal": "x", ', ""))
    plain = await service.get("DiagnosticReport/r1")
    pretty = await service.get("DiagnosticReport/r1?_pretty=true")
    assert pretty.digits == plain.digits
    assert '\n  "id": "r1",\n' in pretty.text
    assert '"valueDecimal": 1.00\n' in pretty.text
    assert (await service.get("DiagnosticReport/r1?_pretty=false")).text == plain.text
    missing = await service.get("DiagnosticReport/r2?_pretty=true")
    assert missing.text.startswith('{\n  "resourceType": "OperationOutcome",\n')
    found = await service.search("patient=Patient/p1&_pretty=true")
    assert found.text.startswith('{\n  "resourceType": "Bundle",\n')


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
        max_leaves=20,
    )
)
def test_indented_as_json_does_it(value: Any) -> None:
    body = json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")
    expected = json.dumps(value, ensure_ascii=False, indent=2).encode(errors="surrogatepass") + b"\n"
    assert indented(body) == expected


@pytest.mark.parametrize(
    ("path", "methods"),
    [
        ("metadata", "GET, HEAD, OPTIONS"),
        ("DiagnosticReport", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT"),
        ("DiagnosticReport/r1", "DELETE, GET, HEAD, OPTIONS, PATCH, PUT"),
        ("DiagnosticReport/_search", "GET, HEAD, OPTIONS, POST"),
        ("", "GET, HEAD, OPTIONS, POST"),
    ],
)
async def test_options(service: Service, path: str, methods: str) -> None:
    answer = await service.request("OPTIONS", path, headers={"Authorization": ""})
    assert (answer.status, answer.headers["Allow"], answer.text) == (204, methods, "")
    assert "Access-Control-Allow-Origin" not in answer.headers
    assert (await service.request("OPTIONS", "no/such/path/at/all")).status == 404


async def test_pages_of_origins_that_are_let(mongodb: str) -> None:
    page, stranger = "https://app.example", "https://other.example"
    async with opened_service(mongodb, cors_origins=f"https://b.example, {page}") as service:
        asked = {"Origin": page, "Access-Control-Request-Method": "PUT"}
        preflight = await service.request("OPTIONS", "Patient/1", headers={**asked, "Authorization": ""})
        assert preflight.headers["Access-Control-Allow-Origin"] == page
        assert "PUT" in preflight.headers["Access-Control-Allow-Methods"]
        assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]
        for path, status in (("metadata", 200), ("Patient/1", 404)):
            answer = await service.get(path, origin=page)
            assert (answer.status, answer.headers["Access-Control-Allow-Origin"]) == (status, page)
            assert "Origin" in answer.headers["Vary"]
            assert "Access-Control-Allow-Origin" not in (await service.get(path, origin=stranger)).headers
        refused = await service.request("OPTIONS", "Patient/1", headers={**asked, "Origin": stranger})
        assert not any(name.startswith("Access-Control") for name in refused.headers)


async def test_a_tenant_says_itself_which_pages_may_ask(mongodb: str) -> None:
    page, everywhere = "https://app.example", "https://everywhere.example"
    async with opened_service(mongodb, cors_origins=everywhere) as service:
        other = await service.new_tenant()
        own = TenantSettings(service.tenant, cors_origins=frozenset({page}))
        await service.access.put_tenant(own)
        service.clock.move(seconds=60)
        nowhere = replace(service, tenant=Tenant("nowhere", "Production"))
        for tenant, origin, allowed in (
            (service, page, True),
            (service, everywhere, False),
            (other, page, False),
            (other, everywhere, True),
            (nowhere, page, False),
            (nowhere, everywhere, True),
        ):
            preflight = {"Origin": origin, "Access-Control-Request-Method": "GET", "Authorization": ""}
            nobody = replace(tenant, headers={})
            for answer in (
                await tenant.request("OPTIONS", "Patient/1", headers=preflight),
                await tenant.get("Patient/1", origin=origin),
                await nobody.get("Patient/1", origin=origin),
                await nobody.get("metadata", origin=origin),
            ):
                found = answer.headers.get("Access-Control-Allow-Origin")
                assert found == (origin if allowed else None), (tenant.tenant, origin)
                assert "Origin" in answer.headers["Vary"]
        # Without a page the answer says still that it depends on one: a cache may keep the second.
        assert "Origin" in (await service.get("Patient/1")).headers["Vary"]
        for tenant in (service, other, nowhere):
            answer = await replace(tenant, headers={}).get("metadata")
            assert "Origin" in answer.headers["Vary"]
            assert "no-store" not in answer.headers.get("Cache-Control", "")


async def test_strangers_have_nothing_looked_up_for_each_name_that_they_make_up() -> None:
    access = memory_access()
    access.settings[LAB] = replace(access.settings[LAB], cors_origins=frozenset({"https://app.example"}))
    asked = {"Origin": "https://app.example", "Access-Control-Request-Method": "GET"}
    async with serving(access, settings=Settings(access_cache_seconds=60)) as client:

        async def allowed(organization: str) -> str | None:
            path = f"/fhir/R4/{organization}/Production/Patient/1"
            answer = await client.options(path, headers=asked)
            return answer.headers.get("Access-Control-Allow-Origin")

        questions = access.questions
        assert [await allowed(f"made-up-{n}") for n in range(20)] == [None] * 20
        assert access.questions <= questions + 1


async def test_pages_are_let_as_they_were_while_nobody_can_be_asked() -> None:
    access = memory_access()
    access.settings[LAB] = replace(access.settings[LAB], cors_origins=frozenset({"https://app.example"}))
    reachable = [True]

    def check() -> None:
        if not reachable[0]:
            raise ServiceError(Category.UNAVAILABLE)

    doorkeeper = Doorkeeper(access, clock=lambda: NOW, seconds=0, check=check)
    assert await doorkeeper.origins(LAB) == {"https://app.example"}
    reachable[0] = False
    assert await doorkeeper.origins(LAB) == {"https://app.example"}
    assert await doorkeeper.origins(OTHER) == frozenset()


async def test_origins_are_not_waited_for_while_the_database_stands_still(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Answers that need no database waited for its deadline."""
    access, still = memory_access(), asyncio.Event()
    access.settings[LAB] = replace(access.settings[LAB], cors_origins=frozenset({"https://app.example"}))
    doorkeeper = Doorkeeper(access, clock=lambda: NOW, seconds=0)
    assert await doorkeeper.origins(LAB) == {"https://app.example"}
    known = access.origins

    async def stands_still() -> object:
        await still.wait()
        return await known()

    monkeypatch.setattr(access, "origins", stands_still)
    monkeypatch.setattr("api.auth.doorkeeper.ORIGINS_SECONDS", 0.0)
    assert await doorkeeper.origins(LAB) == {"https://app.example"}
    still.set()


@pytest.mark.parametrize(
    "origins", ["https://app.example/", "https://App.example", "app.example:8080", "*, null"]
)
def test_origins_of_the_setting_must_be_what_browsers_send(origins: str) -> None:
    with pytest.raises(ValueError, match="without a path") as refused:
        Settings(cors_origins=origins)
    assert origins not in str(refused.value)


# --- proxies

NEAR = networks("10.0.0.0/8, 127.0.0.1, ::1")


@pytest.mark.parametrize(
    ("headers", "told"),
    [
        ({}, Forwarded()),
        ({"x-proto": ["https"], "x-host": ["dod.example"]}, Forwarded("https", "dod.example")),
        ({"x-proto": ["HTTPS"]}, Forwarded("https", None)),
        # What a client wrote stands to the left of what the proxy wrote.
        (
            {"x-for": ["1.2.3.4, 9.9.9.9"], "x-host": ["evil.example, dod.example"]},
            Forwarded(None, "dod.example"),
        ),
        # Two proxies of ours: what the outer one saw.
        (
            {"x-for": ["9.9.9.9, 10.0.0.7"], "x-proto": ["https, http"], "x-host": ["dod.example, inner"]},
            Forwarded("https", "dod.example"),
        ),
        ({"x-for": ["9.9.9.9", "10.0.0.7"], "x-proto": ["https"]}, Forwarded("https", None)),
        ({"x-proto": ["gopher"], "x-host": ["a b"]}, Forwarded()),
        ({"x-host": ["dod.example/path"]}, Forwarded()),
        ({"forwarded": ["for=9.9.9.9;proto=https;host=dod.example"]}, Forwarded("https", "dod.example")),
        (
            {
                "forwarded": [
                    'for=1.1.1.1;host=evil.example, For="[2001:db8::1]:4711";Host="dod.example:8443"'
                ]
            },
            Forwarded(None, "dod.example:8443"),
        ),
        (
            {"forwarded": ["for=9.9.9.9;proto=https;host=dod.example", "for=10.0.0.7;proto=http;host=inner"]},
            Forwarded("https", "dod.example"),
        ),
        # A proxy that writes the others passes `Forwarded` on as a client wrote it.
        ({"forwarded": ["for=1.1.1.1;host=evil.example"], "x-proto": ["https"]}, Forwarded("https")),
        ({"forwarded": ["for=1.1.1.1;host=evil.example"], "x-for": ["9.9.9.9"]}, Forwarded()),
        (
            {"forwarded": ['for="a,b;\\"c";host="dod.example" ; proto=https']},
            Forwarded("https", "dod.example"),
        ),
        ({"forwarded": ['for="unterminated, for=9.9.9.9;host=dod.example']}, Forwarded()),
        # Each of these took a regular expression most of a minute.
        ({"forwarded": ["for=a;" * 2_700 + '"']}, Forwarded()),
        ({"forwarded": ["a" * 16_000 + '"', "host=dod.example"]}, Forwarded()),
        ({"forwarded": ["a" * 16_000]}, Forwarded()),
        ({"forwarded": [" " * 16_000 + "x", "host=dod.example"]}, Forwarded(None, "dod.example")),
    ],
)
def test_what_proxies_say(headers: dict[str, list[str]], told: Forwarded) -> None:
    forwarded, addresses, schemes, hosts = (
        headers.get(name, []) for name in ("forwarded", "x-for", "x-proto", "x-host")
    )
    assert read(forwarded, addresses, schemes, hosts, NEAR)._replace(client=None) == told


@pytest.mark.parametrize(
    ("headers", "client"),
    [
        ({}, None),
        ({"x-for": ["9.9.9.9"]}, "9.9.9.9"),
        ({"x-for": ["1.1.1.1, 9.9.9.9"]}, "9.9.9.9"),  # The first was written by the client itself.
        ({"x-for": ["9.9.9.9, 10.1.2.3"]}, "9.9.9.9"),
        ({"x-for": ["10.1.2.3"]}, "10.1.2.3"),
        ({"x-for": ["nonsense"]}, None),
        ({"forwarded": ['for="[2001:db8::1]:4711"']}, "2001:db8::1"),
        ({"forwarded": ["for=9.9.9.9:80;proto=https"]}, "9.9.9.9"),
        ({"forwarded": ["for=_hidden"]}, None),
        ({"forwarded": ["for=1.1.1.1"], "x-for": ["9.9.9.9"]}, "9.9.9.9"),
    ],
)
def test_where_proxies_say_that_a_client_is(headers: dict[str, list[str]], client: str | None) -> None:
    forwarded, addresses = (headers.get(name, []) for name in ("forwarded", "x-for"))
    assert read(forwarded, addresses, [], [], NEAR).client == client


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("10.1.2.3", True),
        ("10.1.2.3:80", True),
        ("[::1]:80", True),
        ("::1", True),
        ("11.0.0.1", False),
        ("_hidden", False),
        ("", False),
    ],
)
def test_trusted_addresses(address: str, trusted: bool) -> None:
    assert is_trusted(address, NEAR) is trusted


async def test_links_are_those_of_the_proxy_that_is_trusted(mongodb: str) -> None:
    told = {"X-Forwarded-Proto": "https", "X-Forwarded-Host": "dod.example"}
    async with opened_service(mongodb, trusted_proxies="127.0.0.0/8") as service:
        answer = await service.request("PUT", "DiagnosticReport/r1", report(), headers=told)
        assert answer.headers["Location"].startswith(
            f"https://dod.example{service.root}/DiagnosticReport/r1/"
        )
        standard = {"Forwarded": "for=9.9.9.9;proto=https;host=other.example"}
        read_ = await service.request("GET", "DiagnosticReport?_id=r1", headers=standard)
        assert read_.links["self"].startswith(f"https://other.example{service.root}/")
    async with opened_service(mongodb, trusted_proxies="10.0.0.0/8") as service:
        answer = await service.request("PUT", "DiagnosticReport/r1", report(), headers=told)
        assert answer.headers["Location"].startswith(f"{service.base}/DiagnosticReport/r1/")


def test_networks_of_the_setting_must_be_readable() -> None:
    with pytest.raises((ValueError, StartupError), match="addresses or networks"):
        Settings(trusted_proxies="proxy.example")
