"""Reports of runs and comparisons between them, made from records alone: no torch, and nothing is run again."""

from stbench.reports.compare import Comparison, compare
from stbench.reports.report import ReportFiles, write_report

__all__ = ["Comparison", "ReportFiles", "compare", "write_report"]
