"""The commands and their options; what they do is in the module named after each."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

import chainrule as cr
from chainrule.cli import bench as bench_
from chainrule.cli import demo as demo_
from chainrule.cli import doctor as doctor_
from chainrule.cli.load import load

__all__ = ["app"]

app = typer.Typer(
    help="A function, its value and its derivatives as one native function.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Target = Annotated[str, typer.Argument(metavar="FILE.py:FUNCTION", help="A function in a file.")]
Arguments = Annotated[
    list[str] | None,
    typer.Option(
        "--arg",
        metavar="DTYPE[SHAPE]",
        help="One positional argument, in order: 'f32[batch, 8]', 'i64[batch]', 'f64[]'. "
        "For pytrees, give the file a variable FUNCTION_args: a tuple of arrays or cr.spec(...).",
    ),
]


class Notation(StrEnum):
    """How a formula is written."""

    TEXT = "text"
    LATEX = "latex"
    MATHML = "mathml"


class Numerics(StrEnum):
    """The numerics modes of `cr.jit`."""

    FAST = "fast"
    STRICT = "strict"
    REPRODUCIBLE = "reproducible"


@app.command()
def demo(
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training images.")] = 30,
    seed: Annotated[int, typer.Option(help="Of the first weights and of the shuffling.")] = 0,
) -> None:
    """Train on handwritten digits; show the derivative."""
    demo_.run(Console(), epochs, seed)


@app.command()
def explain(
    target: Target,
    wrt: Annotated[
        str,
        typer.Option(help="What to differentiate by: an argument, or a path such as params/W1."),
    ],
    arg: Arguments = None,
    notation: Annotated[Notation, typer.Option("--as", help="How to write it.")] = Notation.TEXT,
    html: Annotated[
        Path | None, typer.Option(help="Write the page with every term and its reason here.")
    ] = None,
) -> None:
    """Print a derivative as mathematics."""
    function, arguments = load(target, arg or ())
    derivative = cr.explain(function, wrt=wrt, args=arguments)
    match notation:
        case Notation.TEXT:
            print(derivative)
        case Notation.LATEX:
            print(derivative.latex())
        case Notation.MATHML:
            print(derivative.mathml())
    if html is not None:
        derivative.html(html)


@app.command()
def export(
    target: Target,
    out: Annotated[Path, typer.Option(help="Directory to write; made if it does not exist.")],
    arg: Arguments = None,
    name: Annotated[
        str | None, typer.Option(help="Prefix of files and symbols; the function's own name.")
    ] = None,
    machine: Annotated[
        list[str] | None, typer.Option("--target", help="Machine to compile for; host by default.")
    ] = None,
    numerics: Annotated[
        Numerics, typer.Option(help="What the compiler may do to floats.")
    ] = Numerics.REPRODUCIBLE,
) -> None:
    """Write an object file, a C header and a loader."""
    function, arguments = load(target, arg or ())
    report = cr.export(
        function,
        args=arguments,
        path=str(out),
        name=name or target.rpartition(":")[2],
        targets=machine or ["host"],
        numerics=numerics.value,
    )
    print(report)


@app.command()
def bench(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[FILE.py:FUNCTION]", help="A scalar loss; some networks if absent."
        ),
    ] = None,
    arg: Arguments = None,
    seconds: Annotated[float, typer.Option(min=0.01, help="Time spent calling each.")] = 1.0,
) -> None:
    """Time value and gradient on this machine."""
    cases = (
        bench_.networks() if target is None else [bench_.of_user(target, *load(target, arg or ()))]
    )
    bench_.run(Console(), cases, seconds)


@app.command()
def doctor() -> None:
    """Check versions, processor, calls, compiler."""
    if not doctor_.run(Console()):
        raise typer.Exit(1)
