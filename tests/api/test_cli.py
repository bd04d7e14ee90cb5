"""The `dod` command: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

import subprocess
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, NamedTuple

import pytest

from api import cli, database
from api.auth.tokens import TOKEN, digest
from store.errors import Category, ServiceError
from store.fhir.issues import Issue
from store.tenancy import SearchScope, Tenant
from tests.support.access import MemoryAccess, MemoryPolicies

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LAB = Tenant("lab", "Production")


class Result(NamedTuple):
    code: int
    out: str
    err: str


class OnlyAccess(NamedTuple):
    access: MemoryAccess
    policies: MemoryPolicies


@pytest.fixture
def access(monkeypatch: pytest.MonkeyPatch) -> MemoryAccess:
    kept, policies = MemoryAccess(), MemoryPolicies()

    @asynccontextmanager
    async def stores(_: object) -> AsyncIterator[OnlyAccess]:
        yield OnlyAccess(kept, policies)

    monkeypatch.setattr(database, "command_stores", stores)
    return kept


@pytest.fixture
def dod(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    def run(*arguments: str) -> Result:
        monkeypatch.setattr(sys, "argv", ["dod", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        captured = capsys.readouterr()
        return Result(int(ended.value.code or 0), captured.out, captured.err)

    return run


def test_tenants_are_made_once_and_changed_as_told(access: MemoryAccess, dod: Callable[..., Result]) -> None:
    assert dod("tenant", "create", "lab/Production", "lab/Staging").out == (
        "lab/Production created\nlab/Staging created\n"
    )
    changed = dod("tenant", "create", "lab/Production", "--search-scope", "any", "--retain-days", "30")
    assert changed.out == "lab/Production changed\n"
    assert dod("tenant", "create", "lab/Production").out == "lab/Production is there already\n"
    assert access.settings[LAB].search_scope is SearchScope.ANY
    assert dod("tenant", "list").out.splitlines()[1].split() == ["lab/Production", "any", "-", "30"]
    again = dod("tenant", "create", "lab/Production", "--retain-days", "30")
    assert again.out == "lab/Production is there already\n"
    assert dod("tenant", "create", "lab/Production", "--retain-days", "31").out == "lab/Production changed\n"


def test_a_token_stands_alone_on_stdout_and_is_kept_as_a_digest(
    access: MemoryAccess, dod: Callable[..., Result]
) -> None:
    dod("tenant", "create", "lab/Production")
    issued = dod("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.rs", "--client", "ehr")
    token = issued.out.removesuffix("\n")
    assert TOKEN.fullmatch(token)
    assert (issued.code, issued.err) == (0, "")
    assert list(access.kept) == [digest(token)]
    listed = dod("token", "list")
    assert digest(token)[:12] in listed.out
    assert token not in listed.out
    assert dod("token", "revoke", digest(token)[:12]).out == "revoked the token of ehr\n"
    assert access.kept == {}


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("tenant", "create", "lab"), 2, "ORG/ENV"),
        (("tenant", "create", "lab/Test"), 2, "Development"),
        (("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.sr"), 2, "--scope"),
        (("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.r?a=b"), 2, "enforced"),
        (("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.r"), 1, "no tenant"),
        (("token", "revoke", "zz"), 2, "hexadecimal"),
        (("token", "revoke", "0123456789ab"), 1, "No tokens start with"),
        (("settings", "--config", "/nowhere"), 1, "cannot be read"),
        (("nonsense",), 2, "nonsense"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_refusals_go_to_stderr_without_a_traceback(
    access: MemoryAccess, dod: Callable[..., Result], arguments: tuple[str, ...], code: int, said: str
) -> None:
    result = dod(*arguments)
    assert (result.code, result.out) == (code, "")
    assert said in result.err
    assert "Traceback" not in result.err


def test_a_failing_store_is_one_sentence(
    access: MemoryAccess, dod: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail() -> None:
        raise ServiceError(Category.UNAVAILABLE, Issue("transient", "The database cannot be reached."))

    monkeypatch.setattr(access, "tenants", fail)
    assert dod("tenant", "list") == (1, "", "The database cannot be reached.\n")


def test_help_loads_neither_the_web_nor_the_driver() -> None:
    script = (
        "import sys\nfrom api.cli import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('aiohttp', 'motor', 'pymongo', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")
