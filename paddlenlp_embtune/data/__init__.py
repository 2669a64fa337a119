"""Labelled rows: reading and checking them (no Paddle), and, in ``data.batching``, batches of them (Paddle)."""

from paddlenlp_embtune.data.checks import DataReport, check_rows, discover_labels, hold_out
from paddlenlp_embtune.data.rows import Rows, read_rows
from paddlenlp_embtune.data.streams import read_texts, stream_standard_input, stream_texts
from paddlenlp_embtune.utils.lines import split_lines

__all__ = [
    "DataReport",
    "Rows",
    "check_rows",
    "discover_labels",
    "hold_out",
    "read_rows",
    "read_texts",
    "split_lines",
    "stream_standard_input",
    "stream_texts",
]
