"""Labels of a run as files for other programs: tables and Label Studio here, formats of other kinds in adapters."""

from noisycorrect.export import label_studio, table  # noqa: F401 - they register their formats
from noisycorrect.export.formats import FORMATS, ExportOptions, Format, format_of
from noisycorrect.export.labels import RunLabels, read_run_labels

__all__ = ["FORMATS", "ExportOptions", "Format", "RunLabels", "format_of", "read_run_labels"]
