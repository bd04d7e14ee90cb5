"""`dod source`: profiles of HL7 v2 sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from api.cli.options import read_file

if TYPE_CHECKING:
    from api.commands.feeds.sources import Checked

source_app = typer.Typer(help="Profiles of HL7 v2 sources.", no_args_is_help=True)


@source_app.command("check")
def source_check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="The profile; without one the defaults.")
    ] = None,
    sample: Annotated[
        Path | None, typer.Option(help="File with messages of the source, shown beside what they become.")
    ] = None,
    faults_only: Annotated[
        bool, typer.Option("--faults", help="Verdict and faults alone, no content.")
    ] = False,
) -> None:
    """Check a source profile, and show a message side by side with its resources. Nothing is stored.

    The output holds what the sample holds. Exit code 1: the profile is wrong, or a message would be refused.
    """
    from api.commands.feeds.sources import check, profile_of

    profile = profile_of(file)
    if sample is None:
        typer.echo(f"The profile `{profile.name}` is sound.")
        return
    refused = False
    for number, one in enumerate(check(profile, read_file(sample)), 1):
        refused = refused or one.verdict != "AA"
        typer.echo(f"# message {number}: {one.verdict}")
        for severity, place, rule in one.faults:
            typer.echo(f"{severity} {place}: {rule}")
        if not faults_only:
            _show(one)
    raise typer.Exit(int(refused))


def _show(one: Checked) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table("field", "sent", "becomes", show_lines=False)
    for field, value, elements in one.fields:
        table.add_row(field, Text(value), Text(elements))
    console = Console(soft_wrap=False)
    console.print(table)
    for kind, text in one.resources:
        console.print(Text(f"\n{kind}", style="bold"))
        console.print(Text(text), soft_wrap=True)
