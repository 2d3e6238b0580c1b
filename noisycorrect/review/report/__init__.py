"""The report: one page that says how many labels are wrong, which, and what correcting bought."""

from noisycorrect.review.report.figures import noise_figures
from noisycorrect.review.report.page import REPORT, report_html, write_report

__all__ = ["REPORT", "noise_figures", "report_html", "write_report"]
