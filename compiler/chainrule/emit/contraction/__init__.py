"""Matrix products through register tiles: one LLVM function a contraction."""

from chainrule.emit.contraction.blocking import emit_contraction
from chainrule.emit.contraction.choice import workspace_bytes
from chainrule.emit.contraction.spec import Contraction, Epilogue
from chainrule.emit.contraction.transpose import emit_transpose

__all__ = ["Contraction", "Epilogue", "emit_contraction", "emit_transpose", "workspace_bytes"]
