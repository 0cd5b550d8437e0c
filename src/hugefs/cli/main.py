"""The command ``hugefs``: finds the sub-command, turns errors into an exit status.

Exit status: 0; 1 a check failed; 2 bad usage or input; 3 it cannot run here, and why.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from hugefs.errors import HugefsError, InvalidRequest, NotSupported, TooBig

__all__ = ["app", "main"]

app = typer.Typer(
    name="hugefs",
    help="hugetlbfs in user space: files on huge pages, with exact quotas, that many processes map at once.",
    no_args_is_help=True,
    add_completion=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
Json = Annotated[bool, typer.Option("--json", help="One JSON object instead of tables.")]


@app.callback()
def _root() -> None:
    """Keep sub-commands sub-commands, also while there are few."""


@app.command()
def demo(
    json: Json = False,
    size: Annotated[
        str | None, typer.Option(help="Size of the array, e.g. 256M. Default: by the memory there is.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Worker processes.")] = 8,
) -> None:
    """The main job on a private server, in a minute, with the counters after every step."""
    from hugefs.cli.demo import run_demo

    raise typer.Exit(run_demo(as_json=json, size=size, workers=workers))


@app.command()
def bench(
    json: Json = False,
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Rounds; the table shows medians.")] = 7,
    quick: Annotated[bool, typer.Option("--quick", help="Small sizes and few rounds: does it run at all?")] = False,
) -> None:
    """Measured side by side, in one run, with what you would use instead."""
    from hugefs.cli.bench import run_bench

    raise typer.Exit(run_bench(as_json=json, rounds=rounds, quick=quick))


@app.command()
def run(
    paths: Annotated[list[Path], typer.Argument(help="Scenario files, or folders of them.", metavar="FILE…")],
    on: Annotated[str, typer.Option(help="Where: sim, linux (needs root) or server.")] = "sim",
    profile: Annotated[str | None, typer.Option(help="Whose behaviour sim shows: ideal or linux-6.18.")] = None,
    schedule: Annotated[
        str | None, typer.Option(help="Order of the together: block: tasks or line numbers, such as P,C,P.")
    ] = None,
    record: Annotated[bool, typer.Option("--record", help="Write outcomes and counters into the files.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a step and one a file.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every step.")] = False,
) -> None:
    """Scenarios: steps of tasks on huge page files, with their outcomes and counters checked."""
    from hugefs.cli.run import run_scenarios

    raise typer.Exit(
        run_scenarios(
            paths, target=on, profile=profile, schedule=schedule, record=record, as_json=json, verbose=verbose
        )
    )


def main() -> None:
    """The console script."""
    if not sys.platform.startswith("linux"):
        sys.stderr.write("hugefs runs on Linux only: it is about the Linux kernel's huge pages.\n")
        sys.exit(3)
    try:
        app()
    except NotSupported as error:
        sys.stderr.write(f"hugefs: cannot run here: {error.reason}\n")
        sys.exit(3)
    except (InvalidRequest, TooBig) as error:
        sys.stderr.write(f"hugefs: {error.reason}\n")
        sys.exit(2)
    except HugefsError as error:
        sys.stderr.write(f"hugefs: {error}\n")
        sys.exit(1)
    except KeyboardInterrupt:
        sys.stderr.write("\nhugefs: interrupted\n")
        sys.exit(130)


if __name__ == "__main__":
    main()
