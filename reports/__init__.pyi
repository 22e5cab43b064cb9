from . import classification, ensemble, recognition, segmentation
from .alignment import alignment_summary
from .canvas import IGNORE_COLOR, colorize, named_colors, new_figure, palette, save
from .charts import Chart, Line, Lines, Points, Strip
from .compare import compare, short_names
from .cost import Cost, cost_of
from .drawing import draw
from .modalities import Pictured, pictured
from .outcome import Outcome, TaskReport, TeacherNetwork, on_device
from .page import Charts, Confusion, Page, Part, Picture, Predictions, Table, Text, read_page
from .paired import best_less_others, gain, less_others, less_reference, less_same, paired
from .pictures import PanelRow, image_sheet, overlay_picture, segmentation_panel
from .probe import Judged, ProbeRow, probe_page
from .report import render, write_report
from .results import as_written, read_results, write_results, write_sealed
from .tables import Column, Run, Statistic, Summary, last_epoch, present, summarize
from .views import Cell, TableView, cell, rows_view, summary_view, terminal_table
from .words import command_in_words, data_in_words, environment_line, listed, teacher_figures

__all__ = [
    "IGNORE_COLOR",
    "Cell",
    "Chart",
    "Charts",
    "Column",
    "Confusion",
    "Cost",
    "Judged",
    "Line",
    "Lines",
    "Outcome",
    "Page",
    "PanelRow",
    "Part",
    "Picture",
    "Pictured",
    "Points",
    "Predictions",
    "ProbeRow",
    "Run",
    "Statistic",
    "Strip",
    "Summary",
    "Table",
    "TableView",
    "TaskReport",
    "TeacherNetwork",
    "Text",
    "alignment_summary",
    "as_written",
    "best_less_others",
    "cell",
    "classification",
    "colorize",
    "command_in_words",
    "compare",
    "cost_of",
    "data_in_words",
    "draw",
    "ensemble",
    "environment_line",
    "gain",
    "image_sheet",
    "last_epoch",
    "less_others",
    "less_reference",
    "less_same",
    "listed",
    "named_colors",
    "new_figure",
    "on_device",
    "overlay_picture",
    "paired",
    "palette",
    "pictured",
    "present",
    "probe_page",
    "read_page",
    "read_results",
    "recognition",
    "render",
    "rows_view",
    "save",
    "segmentation",
    "segmentation_panel",
    "short_names",
    "summarize",
    "summary_view",
    "teacher_figures",
    "terminal_table",
    "write_report",
    "write_results",
    "write_sealed",
]
