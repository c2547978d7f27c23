"""chainrule: a function, its value and its derivatives as one native function."""

from chainrule.api import grad, jit, trace, value_and_grad
from chainrule.frontend.arguments import spec
# nn

__version__ = "0.1.0"
