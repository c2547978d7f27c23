from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.package.c_program import STRICT, compiled, needs_gcc, needs_gxx, ran

import chainrule as cr
import chainrule.numpy as cnp
from chainrule import optim
from chainrule.package import export

OPTIMIZER = optim.adam(1e-2)
BATCHES = (32, 5, 1, 70)  # sizes of the mini-batches of four steps

TRAIN = """
#include <stdio.h>
#include <stdlib.h>
#include "digits_step.h"

static void *get(size_t bytes)
{
    void *data = calloc(1, bytes + 1);
    if (fread(data, 1, bytes, stdin) != bytes) exit(2);
    return data;
}

int main(void)
{
    static const int64_t batches[] = {%(batches)s};
    char *block = malloc(DIGITS_STEP_ARENA_BYTES(70) + DIGITS_STEP_ARENA_ALIGNMENT);
    uintptr_t start = ((uintptr_t)block + 63) / 64 * 64;
    digits_step_inputs inputs;
    digits_step_outputs outputs;
    float loss;
    size_t i;
%(get)s
    outputs.result_2 = &loss;
    for (i = 0; i < sizeof batches / sizeof *batches; i++) {
        digits_step_dims dims;
        int code;
        dims.batch = batches[i];
        inputs.x = get(sizeof(float) * DIGITS_STEP_COUNT_x(dims.batch));
        inputs.y = get(sizeof(int64_t) * DIGITS_STEP_COUNT_y(dims.batch));
        code = digits_step(&dims, &inputs, &outputs, (void *)start);
        if (code) {
            fprintf(stderr, "%%s", digits_step_message(code));
            return 1;
        }
        fwrite(&loss, sizeof loss, 1, stdout);
    }
%(put)s
    return 0;
}
"""


def loss(params: Any, x: Any, y: Any) -> Any:
    hidden = cnp.tanh(x @ params["W1"] + params["b1"])
    return cnp.mean(cr.nn.softmax_cross_entropy(hidden @ params["W2"] + params["b2"], y))


def make_step() -> Any:
    @cr.jit(donate_argnames=("params", "state"), dims={"x": ("batch", 12), "y": ("batch",)})
    def digits_step(params: Any, state: Any, x: Any, y: Any) -> Any:
        value, grads = cr.value_and_grad(loss)(params, x, y)
        params, state = OPTIMIZER.apply(grads, state, params)
        return params, state, value

    return digits_step


def first() -> tuple[Any, Any]:
    generator = np.random.default_rng(0)
    params = {
        "W1": generator.normal(0, 0.3, (12, 17)).astype("f"), "b1": np.zeros(17, "f"),
        "W2": generator.normal(0, 0.3, (17, 5)).astype("f"), "b2": np.zeros(5, "f"),
    }  # fmt: skip
    return params, cr.tree_map(np.copy, OPTIMIZER.init(params))


def batches() -> list[tuple[Any, Any]]:
    generator = np.random.default_rng(1)
    return [
        (generator.normal(size=(n, 12)).astype("f"), generator.integers(0, 5, n)) for n in BATCHES
    ]


@needs_gcc
@pytest.mark.parametrize("linked", ["digits_step.o", "libdigits_step.so"])
def test_a_c_program_trains_to_the_bits_of_the_jit(tmp_path: Path, linked: str) -> None:
    step, (params, state) = make_step(), first()
    export(step, args=(params, state, *batches()[0]), path=tmp_path)
    fields = [p.replace("/", "_") for p in (
        *(f"params/{k}" for k in sorted(params)), "state/count",
        *(f"state/{m}/{k}" for m in ("mean", "square") for k in sorted(params)),
    )]  # fmt: skip
    source = TRAIN % {
        "batches": ", ".join(map(str, BATCHES)),
        "get": "\n".join(
            f"    inputs.{f} = get(sizeof *inputs.{f} * DIGITS_STEP_COUNT_{f});" for f in fields
        ),
        "put": "\n".join(
            f"    fwrite(inputs.{f}, sizeof *inputs.{f}, DIGITS_STEP_COUNT_{f}, stdout);"
            for f in fields
        ),
    }
    given = [*cr.tree_leaves((params, state)), *(a for xy in batches() for a in xy)]
    more = ["-Wl,-rpath,$ORIGIN"] if linked.endswith(".so") else []
    program = compiled(tmp_path, source, linked, flags=more)

    got = ran(program, b"".join(a.tobytes() for a in given))

    losses = []
    for x, y in batches():
        params, state, value = step(params, state, x, y)
        losses.append(value)
    expected = [*losses, *cr.tree_leaves((params, state))]
    assert got == b"".join(np.asarray(a).tobytes() for a in expected)
    assert losses[0] > 0


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "no_dims_no_arena": (lambda x: x + x, (cr.spec((3,), "f4"),)),
    "scalars": (lambda x, flag: cnp.where(flag, x, -x), (cr.spec(()), cr.spec((), bool))),
    "two_dims": (lambda x, y: cnp.concatenate([x, y]), (cr.spec("n"), cr.spec("m"))),
    "compound": (lambda x: (x.reshape(-1, 4).sum(0), x[1:] - x[:-1]), (cr.spec(("n",)),)),
    "constants": (lambda x: x @ np.eye(3, dtype="f4"), (cr.spec(("n", 3), "f4"),)),
    "checked": (lambda t, i: t[i], (cr.spec((5, 2), "f4"), cr.spec(("k",), "i8"))),
    "nothing_in": (lambda: np.ones(3), ()),
    "keywords": (
        lambda d: d["int"] + d["class"] + d["*/"] + d["ä"] + d["a b"] + d["a_b"],
        (dict.fromkeys(("int", "class", "*/", "ä", "a b", "a_b"), cr.spec((2,))),),
    ),
    "all_in_place": (cr.jit(lambda p: p + 1.0, donate_argnames="p"), (cr.spec((2,)),)),
}


@pytest.mark.share(3)
@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("gcc", "-std=c99", "-x", "c", *STRICT), marks=needs_gcc, id="C99"),
        pytest.param(("gcc", "-std=c17", "-x", "c", *STRICT), marks=needs_gcc, id="C17"),
        pytest.param(("g++", "-std=c++11", "-x", "c++", *STRICT), marks=needs_gxx, id="C++11"),
        pytest.param(("g++", "-std=c++20", "-x", "c++", *STRICT), marks=needs_gxx, id="C++20"),
    ],
)
def test_headers_compile_without_a_warning(
    tmp_path: Path, name: str, command: tuple[str, ...]
) -> None:
    fn, args = FUNCTIONS[name]
    export(fn, args=args, path=tmp_path, name=name)
    # Included twice, and after what defines the most macros.
    text = f'#include <math.h>\n#include <stdlib.h>\n#include "{name}.h"\n#include "{name}.h"\n'
    (tmp_path / "unit").write_text(text + "int main(void) { return 0; }\n")
    run = subprocess.run(
        [*command, "-fsyntax-only", str(tmp_path / "unit")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert run.returncode == 0, run.stderr


@needs_gcc
def test_nothing_is_undefined_and_nothing_else_is_seen(tmp_path: Path) -> None:
    export(make_step(), args=(*first(), *batches()[0]), path=tmp_path)
    nm = subprocess.run(
        ["nm", "-g", str(tmp_path / "digits_step.o")], capture_output=True, text=True, check=True
    )

    assert sorted(line.split()[1:] for line in nm.stdout.splitlines()) == [
        ["R", "digits_step_manifest"], ["T", "digits_step_kernel"],
    ]  # fmt: skip


ERRORS = """
#include <stdio.h>
#include "rows.h"

int main(void)
{
    static const float table[10] = {0};
    static float picked[100];
    static const int64_t good[3] = {0, 4, -5}, bad[3] = {0, 5, 1};
    static char block[1024];
    char *arena = block + (64 - (uintptr_t)block %% 64) %% 64;
    rows_dims dims = {3}, negative = {-1};
    rows_inputs inputs = {table, good}, wrong = {table, bad};
    rows_outputs outputs = {picked};
    int codes[5], i;
    codes[0] = rows(&dims, &inputs, &outputs, arena);
    codes[1] = rows(&dims, &wrong, &outputs, arena);
    codes[2] = rows(&negative, &inputs, &outputs, arena);
    codes[3] = rows(&dims, &inputs, &outputs, NULL);
    codes[4] = rows(&dims, &inputs, &outputs, arena + 1);
    for (i = 0; i < 5; i++) printf("%%d %%s\\n", codes[i], rows_message(codes[i]));
    return !(codes[0] == ROWS_OK && codes[2] == ROWS_BAD_EXTENTS && codes[3] == ROWS_BAD_ARENA);
}
"""


@needs_gcc
def test_codes_tell_what_is_wrong(tmp_path: Path) -> None:
    fn, args = FUNCTIONS["checked"]
    report = export(fn, args=args, path=tmp_path, name="rows")
    assert report.arena_bytes(k=3) <= 900
    lines = ran(compiled(tmp_path, ERRORS.replace("%%", "%"), "rows.o")).decode().splitlines()

    assert lines[0] == "0 no error"
    assert lines[1].startswith("1 ")
    assert "out of range" in lines[1] or "index" in lines[1]
    assert lines[2] == "-1 extents the code does not work with"
    assert lines[3] == lines[4] == "-2 the arena is NULL or not aligned to 64 bytes"
    with pytest.raises((cr.ChainruleError, IndexError)):
        cr.jit(fn)(np.zeros((5, 2), "f4"), np.array([0, 5, 1]))


GUARDED = """
#include "halves.h"

int main(void)
{
    static const double x[9] = {1, 2, 3, 4, 5, 6, 7, 8, 9};
    double sums[4], steps[8];
    halves_dims even = {8}, odd = {9};
    halves_inputs inputs = {x};
    halves_outputs outputs = {sums, steps};
    static char block[HALVES_ARENA_BYTES(9) + 64];
    char *arena = block + (64 - (uintptr_t)block % 64) % 64;
    if (HALVES_COUNT_result_1(8) != 7) return 1;
    if (halves(&odd, &inputs, &outputs, arena) != HALVES_BAD_EXTENTS) return 2;
    if (halves(&even, &inputs, &outputs, arena) != HALVES_OK) return 3;
    return !(sums[0] == 6 && sums[3] == 12 && steps[6] == 1);
}
"""


@needs_gcc
def test_extents_are_checked_and_counted(tmp_path: Path) -> None:
    fn, args = FUNCTIONS["compound"]
    export(fn, args=args, path=tmp_path, name="halves")

    ran(compiled(tmp_path, GUARDED, "halves.o"))
