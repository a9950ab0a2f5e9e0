"""The demo's task: support tickets of a small web shop, each to be sent to one of eight queues.

`train_path()` and `held_out_path()` name CSV files with the columns `system`, `prompt` and
`completion`. The two parts share no ticket and no sentence template.
"""

from pathlib import Path

from tunesmith.platform.demo.tickets.templates import LABELS, SYSTEM_PROMPT

__all__ = ["LABELS", "SYSTEM_PROMPT", "held_out_path", "train_path"]

_HERE = Path(__file__).parent


def train_path() -> Path:
    """The CSV file that the demo uploads and tunes on: 960 tickets."""
    return _HERE / "train.csv"


def held_out_path() -> Path:
    """The CSV file that base and tuned model are compared on: 160 tickets."""
    return _HERE / "held_out.csv"
