"""Sources of settings; a misspelt one is refused by name and without its value."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from api.commands.settings import describe_settings
from api.settings.groups import grouped
from api.settings.service import Settings, load_settings, variable
from store.errors import StartupError

if TYPE_CHECKING:
    from pathlib import Path

SENTINEL = "s3ntinel-value"


@pytest.fixture(autouse=True)
def _bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.upper().startswith("DOD_")]:
        monkeypatch.delenv(name)


def secrets(path: Path, **files: str) -> Path:
    """A directory as Kubernetes mounts it, with its bookkeeping beside the files."""
    (path / "..data").mkdir(parents=True)
    for name, text in files.items():
        (path / name).write_text(text, encoding="utf-8")
    return path


def toml(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_sources_win_in_their_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toml(tmp_path / "dod.toml", 'port = 1\nadmin_port = 1\nhost = "file"\nmongodb_database = "file"')
    mounted = secrets(tmp_path / "secrets", dod_port="2", dod_admin_port="2", dod_host="secret")
    monkeypatch.setenv("DOD_CONFIG", str(config))
    monkeypatch.setenv("DOD_SECRETS_DIR", str(mounted))
    monkeypatch.setenv("DOD_PORT", "3")
    monkeypatch.setenv("DOD_ADMIN_PORT", "3")
    settings = load_settings(port=4, role=None)
    assert (settings.port, settings.admin_port, settings.host) == (4, 3, "secret")
    assert settings.mongodb_database == "file"
    assert settings.role == "all"


def test_an_empty_variable_is_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_MONGODB_URI", "")
    assert load_settings().mongodb_uri is None


@pytest.mark.parametrize("name", ["DOD_PROT", "DOD_", "dod_prot"])
def test_an_unknown_variable_is_refused(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, SENTINEL)
    with pytest.raises(StartupError, match=name) as refused:
        load_settings()
    assert SENTINEL not in str(refused.value)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path) -> None:
    config = toml(tmp_path / "dod.toml", f'prot = "{SENTINEL}"')
    with pytest.raises(StartupError, match=r"file .*dod\.toml: prot \(did you mean `port`\?\)\.") as refused:
        load_settings(config=config)
    assert SENTINEL not in str(refused.value)


@pytest.mark.parametrize("name", ["dod_mongodb_url", "mongodb_uri"])
def test_an_unknown_secret_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_SECRETS_DIR", str(secrets(tmp_path / "secrets", **{name: SENTINEL})))
    with pytest.raises(StartupError, match=name) as refused:
        load_settings()
    assert SENTINEL not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"port": SENTINEL}, "DOD_PORT"),
        ({"port": 65_536}, "DOD_PORT"),
        ({"role": SENTINEL}, "DOD_ROLE"),
        ({"mongodb_uri": SENTINEL}, "a connection string begins with `mongodb://`"),
        ({"base_url": "ftp://dod.example"}, "DOD_BASE_URL"),
        ({"base_url": "https://dod.example/"}, "DOD_BASE_URL"),
        ({"config": "/nowhere/dod.toml"}, "cannot be read"),
        ({"secrets_dir": "/nowhere/secrets"}, "cannot be read"),
        (
            {"workers": SENTINEL},
            r"DOD_WORKERS: Input should be a valid integer.* or Input should be 'auto'\.$",
        ),
        (
            {"tls_client_ca": "/nowhere/ca.pem"},
            "refused: `DOD_TLS_CLIENT_CA` needs `DOD_TLS_CERTIFICATE` and `DOD_TLS_KEY`",
        ),
    ],
)
def test_a_wrong_value_is_refused_without_showing_it(options: dict[str, object], said: str) -> None:
    with pytest.raises(StartupError, match=said) as refused:
        load_settings(**options)
    assert SENTINEL not in str(refused.value)


def test_a_file_that_is_not_toml_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="is not TOML"):
        load_settings(config=toml(tmp_path / "dod.toml", SENTINEL))


@pytest.mark.parametrize("name", [name for name in Settings.model_fields if name in Settings.__annotations__])
def test_each_setting_says_what_it_is_for(name: str) -> None:
    assert Settings.model_fields[name].description


def test_the_list_shows_values_and_sources_but_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_MONGODB_URI", f"mongodb://user:{SENTINEL}@db")
    shown = describe_settings(data_dir="/data")
    assert SENTINEL not in shown
    assert "DOD_MONGODB_URI = **********  (from the environment; default unset)" in shown
    assert "DOD_DATA_DIR = /data  (from the command line; default .dod)" in shown
    assert "DOD_PORT = 8080  (default)" in shown


def test_the_list_begins_with_where_the_data_is_and_has_every_setting_once() -> None:
    lines = describe_settings().splitlines()
    assert lines[0] == "# Where the data and the settings are"
    assert lines[1].startswith("DOD_DATA_DIR = ")
    named = [line.split()[0] for line in lines if line.startswith("DOD_")]
    assert sorted(named) == sorted(variable(name) for name in Settings.model_fields)


def test_the_groups_name_settings_that_there_are() -> None:
    every = list(Settings.model_fields)
    *groups, others = grouped(every)
    assert all(group.names for group in groups)
    assert len(others.names) < 15, "a new setting belongs into a group"
    assert sorted(name for group in (*groups, others) for name in group.names) == sorted(every)


@pytest.mark.parametrize(
    ("name", "meant"),
    [("DOD_PROT", "DOD_PORT"), ("dod_prot", "dod_port"), ("DOD_MONGO_URI", "DOD_MONGODB_URI")],
)
def test_the_setting_that_may_be_meant_is_named(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, SENTINEL)
    with pytest.raises(StartupError, match=f"did you mean `{meant}`"):
        load_settings()


@pytest.mark.parametrize(
    ("uri", "refused"),
    [
        ("mongodb://user:hush@db.example/", True),
        ("mongodb+srv://user:hush@db.example/dod", True),
        ("mongodb://user:h%40sh@a.example,b.example/", True),
        ("mongodb://user@db.example/?authMechanism=MONGODB-X509", False),
        ("mongodb://db.example:27017,other.example:27018/", False),
    ],
)
def test_a_password_is_not_taken_from_the_command_line(uri: str, *, refused: bool) -> None:
    if refused:
        with pytest.raises(StartupError, match="every user of the machine") as caught:
            load_settings(mongodb_uri=uri)
        assert "sh@" not in str(caught.value)
    else:
        assert load_settings(mongodb_uri=uri).mongodb_uri is not None


def test_a_password_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOD_MONGODB_URI", "mongodb://user:hush@db.example/")
    found = load_settings().mongodb_uri
    assert found is not None
    assert "hush" not in str(found)
