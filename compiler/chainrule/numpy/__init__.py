"""NumPy's functions, for plain arrays and for traced values.

Every function here has NumPy's name, arguments and promotion.  Given plain arrays it computes with
NumPy and returns NumPy's result; given traced values, inside a function that is being traced or
on symbols, it makes further ones.  NumPy's own functions, as `np.tanh(x)`, do the same with traced
values.

>>> import numpy as np
>>> import chainrule.numpy as cnp
>>> cnp.logaddexp(np.array([1000.0]), np.array([1000.0])).round(4).tolist()
[1000.6931]
"""

from numpy import (
    bool_,
    broadcast_shapes,
    dtype,
    e,
    euler_gamma,
    finfo,
    float32,
    float64,
    iinfo,
    inf,
    int32,
    int64,
    issubdtype,
    nan,
    ndarray,
    newaxis,
    pi,
    tril_indices,
    triu_indices,
    uint8,
    uint32,
)

from chainrule.numpy import linalg
from chainrule.numpy.creation import *  # noqa: F403
from chainrule.numpy.einsum import einsum, einsum_path
from chainrule.numpy.elementary import *  # noqa: F403
from chainrule.numpy.indexing import *  # noqa: F403
from chainrule.numpy.linalg import cross
from chainrule.numpy.linear import *  # noqa: F403
from chainrule.numpy.pointwise import *  # noqa: F403
from chainrule.numpy.queries import *  # noqa: F403
from chainrule.numpy.reductions import *  # noqa: F403
from chainrule.numpy.shape import *  # noqa: F403
from chainrule.numpy.unavailable import *  # noqa: F403
from chainrule.numpy import updating  # noqa: F401  (gives x.at[...] its meaning)

bool = bool_
