"""The `dod` command: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

import asyncio
import errno
import subprocess
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
import typer

from api import database
from api.auth.tokens import TOKEN, digest
from api.cli import main as cli
from api.cli import subscriptions as subscription_options
from api.commands import terminal
from api.settings import service
from api.version import VERSION
from store.audit.records import Deed
from store.errors import Category, ServiceError, StartupError
from store.fhir.issues import Issue
from store.tenancy import SearchScope, Tenant
from tests.support.access import MemoryAccess, MemoryClients, MemoryPolicies
from tests.support.subscriptions import kept

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from store.access import AccessStore
    from store.audit.records import AuditRecord
    from store.clients import ClientStore
    from store.subscriptions.records import Subscription

LAB = Tenant("lab", "Production")


class Result(NamedTuple):
    code: int
    out: str
    err: str


class NoTrail:
    """An audit that keeps nothing."""

    async def note(self, *records: AuditRecord) -> None:
        assert all(record.by for record in records)


@dataclass(frozen=True)
class OnlyAccess:
    access: AccessStore
    policies: MemoryPolicies
    clients: ClientStore = field(default_factory=MemoryClients)
    privacy: Any = field(default_factory=lambda: SimpleNamespace(audit=NoTrail()))


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


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device.\n"),
        (PermissionError(errno.EACCES, "Permission denied", "/in/b"), "/in/b: Permission denied.\n"),
        (
            MemoryError(),
            f"{terminal.NO_MEMORY}\n",
        ),
        (
            # As CPython says it where `ulimit -v` leaves no room for the stack of a thread.
            RuntimeError("can't start new thread"),
            f"{terminal.NO_THREAD}\n",
        ),
    ],
)
def test_a_file_or_memory_that_fails_is_told_in_a_sentence(
    dod: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr(cli, "_command_line", lambda: failing)
    assert dod("load", "x") == Result(1, "", said)


def test_another_failure_keeps_its_traceback(
    dod: Callable[..., Result], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing() -> None:
        raise RuntimeError("a mistake of ours")

    monkeypatch.setattr(cli, "_command_line", lambda: failing)
    with pytest.raises(RuntimeError, match="a mistake of ours"):
        dod("load", "x")


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


def test_a_tenant_names_the_pages_that_may_ask(access: MemoryAccess, dod: Callable[..., Result]) -> None:
    pages = ("--cors-origin", "https://app.example", "--cors-origin", "http://localhost:3000")
    dod("tenant", "create", "lab/Production", *pages)
    assert access.settings[LAB].cors_origins == {"https://app.example", "http://localhost:3000"}
    dod("tenant", "create", "lab/Production", "--search-scope", "any")
    assert len(access.settings[LAB].cors_origins) == 2
    for wrong in ("app.example", "https://app.example/", "https://app.example/x", "null"):
        refused = dod("tenant", "create", "lab/Production", "--cors-origin", wrong)
        assert (refused.code, "is no origin" in refused.err) == (1, True)
    dod("tenant", "create", "lab/Production", "--cors-origin", "")
    assert access.settings[LAB].cors_origins == frozenset()


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
        (
            ("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.r?a=b"),
            2,
            "names its resource type",
        ),
        (("token", "issue", "--tenant", "lab/Production", "--scope", "system/*.r"), 1, "no tenant"),
        (("token", "revoke", "zz"), 2, "hexadecimal"),
        (("token", "revoke", "0123456789ab"), 1, "No tokens start with"),
        (("settings", "--config", "/nowhere"), 1, "cannot be read"),
        (("nonsense",), 2, "nonsense"),
        (("tennant",), 2, "tenant"),
        (("tenant", "create", "lab/production"), 2, "did you mean `Production`?"),
        (("tenant", "create", "lab/dev"), 2, "did you mean `Development`?"),
        (
            ("token", "issue", "--tenant", "lab/Production", "--scope", "system/DiagnosticRepot.rs"),
            2,
            "did you mean `DiagnosticReport`?",
        ),
        (("token", "issue", "--tenant", "lab/Production", "--scope", "system/patient.rs"), 2, "`Patient`?"),
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
        "import sys\nfrom api.cli.main import app\n"
        "try: app(['--help'])\nexcept SystemExit: pass\n"
        "print([name for name in ('aiohttp', 'motor', 'pymongo', 'pydantic') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.endswith("[]\n")


def all_commands() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []

    def walk(command: Any, path: tuple[str, ...]) -> None:
        found.append(path)
        for name, inner in getattr(command, "commands", {}).items():
            walk(inner, (*path, name))

    walk(typer.main.get_command(cli.app), ())
    return found


def test_help_shows_what_it_says_with_every_default(dod: Callable[..., Result]) -> None:
    """`[8080]` and `[all]` were taken for markup and left out."""
    shown = {path: "".join(dod(*path, "--help").out.split()) for path in all_commands()}
    assert "[8080];0takesafreeone" in shown["serve",]
    assert "query,ingestorjobs[all]." in shown["serve",]
    assert "[64;backfill8]" in shown["load",]
    command = typer.main.get_command(cli.app)
    for path, text in shown.items():
        one: Any = command
        for name in path:
            one = one.commands[name]
        for parameter in one.params:
            assert "".join((getattr(parameter, "help", None) or "").split()) in text, (path, parameter.name)


@pytest.mark.parametrize("arguments", [("--version",), ("-V",), ("version",)])
def test_the_version(dod: Callable[..., Result], arguments: tuple[str, ...]) -> None:
    assert dod(*arguments) == (0, f"{VERSION}\n", "")


@pytest.mark.parametrize("arguments", [("--help",), ("-h",), ("help",)])
def test_help_begins_with_what_is_needed_first(
    dod: Callable[..., Result], arguments: tuple[str, ...]
) -> None:
    commands = dod(*arguments).out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in commands[:8]] == [
        "demo",
        "serve",
        "tenant",
        "token",
        "client",
        "apply",
        "load",
        "search",
    ]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), None),
        (("--no-notify",), False),
        (("--mode", "backfill"), False),
        (("--mode", "backfill", "--notify"), True),
    ],
)
def test_a_backfill_tells_subscribers_nothing_new_unless_asked_to(
    dod: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: tuple[str, ...],
    told: bool | None,
) -> None:
    given: dict[str, object] = {}

    def noted(**options: object) -> None:
        given.update(options)
        raise StartupError("enough")

    monkeypatch.setattr(service, "load_settings", noted)
    assert dod("load", str(tmp_path), "--tenant", "lab/Production", *options).code == 1
    assert given["subscription_notify"] is told


class OneSubscription:
    """A store that has one subscription, and takes every change of it."""

    async def get(self, tenant: Tenant, id: str) -> Subscription:
        return kept(id, tenant=tenant)

    def __getattr__(self, name: str) -> Callable[..., Awaitable[bool]]:
        async def change(*_: object, **__: object) -> bool:
            return True

        return change


@pytest.mark.parametrize(
    ("arguments", "done"),
    [
        (("pause",), "paused"),
        (("resume",), "resumed"),
        (("replay", "--after", "0"), "replayed"),
        (("delete",), "deleted"),
        (("show",), None),
    ],
)
def test_what_an_operator_does_to_a_subscription_is_on_record(
    dod: Callable[..., Result],
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    done: str | None,
) -> None:
    noted: list[AuditRecord] = []

    async def note(*records: AuditRecord) -> None:
        noted.extend(records)

    async def events(*_: object, **__: object) -> tuple[()]:
        return ()

    outbox = SimpleNamespace(events=events)
    subscribing = SimpleNamespace(subscriptions=OneSubscription(), outbox=outbox)
    stores = SimpleNamespace(
        subscribing=subscribing, privacy=SimpleNamespace(audit=SimpleNamespace(note=note))
    )
    monkeypatch.setattr(subscription_options, "with_stores", lambda work, **_: asyncio.run(work(stores)))
    assert dod("subscription", arguments[0], "lab/Production", "s1", *arguments[1:]).code == 0
    told = [(one.tenant, one.did, one.reason, one.of) for one in noted]
    assert told == ([] if done is None else [(LAB, Deed.SUBSCRIPTION_CHANGED, done, "s1")])
