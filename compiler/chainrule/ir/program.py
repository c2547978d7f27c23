"""A program: inputs, outputs and checks of one graph, and what makes it legal."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from chainrule.ir.body import bodies_of
from chainrule.ir.dims import names_of, show_extent
from chainrule.ir.graph import Check, Graph, Node
from chainrule.ir.sizes import Guard, size_guards
from chainrule.ir.walk import all_nodes, topological

__all__ = ["Guard", "Program", "check"]


@dataclass(frozen=True, slots=True)
class Program:
    """Outputs as functions of inputs.

    Attributes:
        name: What the user's function is called.
        inputs: Input nodes in the order of the arguments' leaves.
        outputs: Result nodes in the order of the results' leaves.
        paths: The users' names of the input leaves (`params/W1`).
        output_paths: Names of the output leaves (`0`, `1/W1`).
        guards: What was assumed of the named dims.
        checks: Conditions under which running it raises IndexError.
        donated: Pairs (input, output): the output may overwrite the input's memory.
    """

    name: str
    inputs: tuple[Node, ...]
    outputs: tuple[Node, ...]
    paths: tuple[str, ...]
    output_paths: tuple[str, ...]
    guards: tuple[Guard, ...] = ()
    checks: tuple[Check, ...] = ()
    donated: tuple[tuple[int, int], ...] = field(default=())

    @property
    def graph(self) -> Graph:
        """The graph that owns the nodes."""
        return (self.outputs or self.inputs)[0].graph

    @property
    def results(self) -> tuple[Node, ...]:
        """Everything that is computed: the conditions of the checks, then the outputs."""
        return (*[c.failed for c in self.checks], *self.outputs)

    @property
    def nodes(self) -> list[Node]:
        """Every node that is needed, arguments first."""
        return topological(self.results)

    @property
    def dims(self) -> tuple[str, ...]:
        """Names of the run-time extents, in order of appearance in the inputs."""
        found: dict[str, None] = {}
        for node in self.inputs:
            for extent in node.shape:
                found.update(dict.fromkeys(sorted(names_of(extent))))
        return tuple(found)


def guarded(program: Program) -> Program:
    """Return the program with guards for every size, start and count that is not certain."""
    known = program.guards
    more = size_guards(all_nodes(program.results), [x.type for x in program.inputs], known)
    return replace(program, guards=(*known, *more)) if more else program


def check(program: Program) -> None:
    """Raise AssertionError unless `program` is legal; run after every stage in tests.

    Legal: all nodes belong to one graph; arguments precede results; each node's type is what its
    op infers; inputs are distinct `input` nodes and no other input is reached; extents mention
    only names that inputs or loops bind; names and nodes correspond one to one; bodies are closed;
    every size, start and count is proved not to be negative, or guarded.
    """
    graph = program.graph
    bound = set(program.dims)
    inputs = set(program.inputs)
    assert len(inputs) == len(program.inputs), "an input is listed twice"
    assert len(program.paths) == len(program.inputs), "inputs and their names differ in number"
    assert len(program.output_paths) == len(program.outputs), "outputs and their names differ"
    _check_nodes(graph, program.nodes, inputs, bound)
    loose = size_guards(
        all_nodes(program.results), [x.type for x in program.inputs], program.guards
    )
    assert not loose, f"neither proved nor guarded: {loose[0]}"
    for given, result in program.donated:
        a, b = program.inputs[given], program.outputs[result]
        assert a.type == b.type, f"donated {a} and result {b} differ: {show_extent(a.type.size)}"


def _check_nodes(graph: Graph, nodes: list[Node], inputs: set[Node], bound: set[str]) -> None:
    for node in nodes:
        assert node.graph is graph, f"{node} belongs to another graph"
        for argument in node.args:
            assert argument.id < node.id, f"{node} precedes its argument {argument}"
        inferred = node.op.infer(*[a.type for a in node.args], **node.attributes)
        assert inferred == node.type, f"{node} should be {inferred}"
        assert node.op.name != "input" or node in inputs, f"{node} is not among the inputs"
        given = node.attributes if node.op.name == "loop" else {}
        if given and (given["counted"] or given["test"] is not None):
            # Such a loop says itself how many steps it takes.
            bound = bound | names_of(node.attributes["length"])
        for body in bodies_of(node):
            assert len(set(body.inputs)) == len(body.inputs), f"{node}: an input is listed twice"
            own = topological((*body.inputs, *body.outputs))
            _check_nodes(graph, own, set(body.inputs), bound)
        for extent in node.shape:
            loose = names_of(extent) - bound
            assert not loose, f"{node}: no input binds {', '.join(sorted(loose))}"
