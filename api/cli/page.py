"""The page of all commands, `docs/commands.md`, made from the command line itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from typer.main import get_command

from api.cli.main import app

if TYPE_CHECKING:
    from collections.abc import Iterator

COMMON: Final = ("--data-dir", "--mongodb-uri", "--config")
"""Options of nearly every command, told once."""


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it, in the order of the help."""
    yield from _below(get_command(app), ("dod",))


def _below(command: Any, words: tuple[str, ...]) -> Iterator[tuple[str, Any]]:  # noqa: ANN401 -- typer's own
    if not hasattr(command, "commands"):
        yield " ".join(words), command
        return
    for name in command.list_commands(None):
        if not command.commands[name].hidden:
            yield from _below(command.commands[name], (*words, name))


def page(head: list[str]) -> str:
    """All commands with what they do, what they take and their own options."""
    lines = [
        "# Commands",
        "",
        "`dod COMMAND --help` says more. Exit codes: 0 done; 1 refused, with a sentence for each reason on",
        "standard error; 2 the command itself was misused. Settings that are no option of a command come",
        "from the environment ([settings.md](settings.md)). All that ask the database take "
        + ", ".join(f"`{option}`" for option in COMMON)
        + ".",
        "",
        "| command | does | takes | options |",
        "|---|---|---|---|",
        *(_row(*one) for one in commands()),
    ]
    return "\n".join([*head, *lines, ""])


def _row(words: str, command: Any) -> str:  # noqa: ANN401
    does = _cell((command.help or "").partition("\n\n")[0])
    takes = [param for param in command.params if param.param_type_name == "argument"]
    options = [param.opts[0] for param in command.params if param.param_type_name == "option"]
    taken = " ".join(f"`{_cell(one.metavar or one.name.upper())}`" for one in takes)
    own = " ".join(f"`{option}`" for option in options if option not in COMMON)
    return f"| `{words}` | {does} | {taken} | {own} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
