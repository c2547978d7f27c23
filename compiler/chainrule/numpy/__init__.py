"""NumPy's functions, of plain arrays and of traced values."""

from chainrule.numpy.elementary import *  # noqa: F403
from chainrule.numpy.pointwise import *  # noqa: F403
from chainrule.numpy.reductions import *  # noqa: F403
from chainrule.numpy.linear import *  # noqa: F403
from chainrule.numpy.shape import *  # noqa: F403
