"""NumPy's functions, for plain arrays and for traced values.

Every function here has NumPy's name, arguments and promotion.  Given plain arrays it computes with
NumPy and returns NumPy's result; given traced values, inside a function that is being traced or
on symbols, it makes further ones.  NumPy's own functions, as `np.tanh(x)`, do the same with traced
values.

What is computed of plain data while a function is traced stays plain data, for shapes, loops and
tables; it may also be indexed by traced values and updated with them, as
`cnp.zeros(3).at[i].set(v)` and `cnp.arange(5)[i]`.

>>> import numpy as np
>>> import chainrule.numpy as cnp
>>> cnp.logaddexp(np.array([1000.0]), np.array([1000.0])).round(4).tolist()
[1000.6931]
"""

# ruff: noqa: F401, F403  (a namespace: everything here is public)

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from numpy import (
    bool_ as bool_,
)
from numpy import (
    broadcast_shapes as broadcast_shapes,
)
from numpy import (
    dtype as dtype,
)
from numpy import (
    e as e,
)
from numpy import (
    euler_gamma as euler_gamma,
)
from numpy import (
    finfo as finfo,
)
from numpy import (
    float16 as float16,
)
from numpy import (
    float32 as float32,
)
from numpy import (
    float64 as float64,
)
from numpy import (
    iinfo as iinfo,
)
from numpy import (
    inf as inf,
)
from numpy import (
    int32 as int32,
)
from numpy import (
    int64 as int64,
)
from numpy import (
    issubdtype as issubdtype,
)
from numpy import (
    nan as nan,
)
from numpy import (
    ndarray as ndarray,
)
from numpy import (
    newaxis as newaxis,
)
from numpy import (
    pi as pi,
)
from numpy import (
    tril_indices as tril_indices,
)
from numpy import (
    triu_indices as triu_indices,
)
from numpy import (
    uint8 as uint8,
)
from numpy import (
    uint32 as uint32,
)

from chainrule.errors import absent as _absent
from chainrule.errors import public_names as _public_names
from chainrule.numpy import (
    linalg as linalg,
)
from chainrule.numpy import (
    updating,  # gives x.at[...] its meaning
)
from chainrule.numpy.creation import *
from chainrule.numpy.einsum import *
from chainrule.numpy.elementary import *
from chainrule.numpy.indexing import *
from chainrule.numpy.joining import *
from chainrule.numpy.linalg import cross as cross
from chainrule.numpy.linear import *
from chainrule.numpy.padding import *
from chainrule.numpy.pointwise import *
from chainrule.numpy.queries import *
from chainrule.numpy.reductions import *
from chainrule.numpy.repeating import *
from chainrule.numpy.selecting import *
from chainrule.numpy.shape import *
from chainrule.numpy.statistics import *
from chainrule.numpy.unavailable import *

bool = bool_


bfloat16: _Any

if not _TYPE_CHECKING:  # to a type checker a module that answers to every name has every name

    def __getattr__(name: str) -> _Any:
        """Look for `bfloat16` when it is first asked for: NumPy gets it from another package."""
        from chainrule_runtime.bfloat16 import bfloat16_dtype

        if name == "bfloat16":
            return bfloat16_dtype().type
        raise _absent(__name__, name)

    def __dir__() -> list[str]:
        return _public_names(__name__)
