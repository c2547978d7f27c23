"""Compiled functions as files: object, C header, shared library, loader for Python."""

from chainrule.package.exporting import export
from chainrule.package.report import ExportReport

__all__ = ["ExportReport", "export"]
