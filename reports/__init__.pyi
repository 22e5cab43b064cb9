from . import classification, ensemble, recognition, segmentation
from .alignment import alignment_parts, alignment_summary
from .canvas import IGNORE_COLOR, colorize, named_colors, new_figure, palette, save
from .compare import compare, short_names
from .cost import Cost, cost_of
from .modalities import Pictured, pictured
from .outcome import Outcome, TaskReport, TeacherNetwork, on_device
from .page import Page, Part, Picture, Predictions, Table, Text, read_page
from .paired import best_less_others, gain, less_others, less_reference, less_same, paired
from .pictures import PanelRow, image_sheet, overlay_picture, segmentation_panel
from .probe import Judged, ProbeRow, probe_page
from .report import render, write_report
from .results import as_written, read_results, write_results, write_sealed
from .tables import Column, Run, Statistic, Summary, markdown_table, summarize, terminal_table
from .words import command_in_words, data_in_words, environment_line

__all__ = [
    "IGNORE_COLOR",
    "Column",
    "Cost",
    "Judged",
    "Outcome",
    "Page",
    "PanelRow",
    "Part",
    "Picture",
    "Pictured",
    "Predictions",
    "ProbeRow",
    "Run",
    "Statistic",
    "Summary",
    "Table",
    "TaskReport",
    "TeacherNetwork",
    "Text",
    "alignment_parts",
    "alignment_summary",
    "as_written",
    "best_less_others",
    "classification",
    "colorize",
    "command_in_words",
    "compare",
    "cost_of",
    "data_in_words",
    "ensemble",
    "environment_line",
    "gain",
    "image_sheet",
    "less_others",
    "less_reference",
    "less_same",
    "markdown_table",
    "named_colors",
    "new_figure",
    "on_device",
    "overlay_picture",
    "paired",
    "palette",
    "pictured",
    "probe_page",
    "read_page",
    "read_results",
    "recognition",
    "render",
    "save",
    "segmentation",
    "segmentation_panel",
    "short_names",
    "summarize",
    "terminal_table",
    "write_report",
    "write_results",
    "write_sealed",
]
