"""The command `chainrule`: demo, explain, export, bench, doctor.

Its tables and progress bars come with the extra `cli`; the library itself never imports them.
"""

from __future__ import annotations

import sys

from chainrule.errors import ChainruleError

__all__ = ["main"]


def main() -> None:
    """Run the command line; the console script `chainrule` calls this.

    Raises:
        SystemExit: Always: 0 where all went well, 1 for an error of chainrule or where the extra
            is missing, 2 for a wrong command.
    """
    try:
        from chainrule.cli.app import app
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in {"click", "rich", "typer"}:
            raise
        sys.exit(
            f'chainrule: {package} is not installed; the command line needs the extra "cli": '
            'pip install "chainrule[cli]"'
        )
    try:
        app(prog_name="chainrule")
    except ChainruleError as error:
        sys.exit(f"{type(error).__name__}: {error}")
