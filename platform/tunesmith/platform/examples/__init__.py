"""Uploaded bytes to examples: formats recognised, every problem named with its line."""

from .columns import parse_column_options, renamed_columns
from .errors import DamagedExamples, ExamplesError, Problem
from .example import Example, ExamplesKind, FileFormat
from .limits import MAXIMUM_EXAMPLE_BYTES, MINIMUM_EXAMPLES
from .normalised import read_normalised
from .reading import ExamplesSummary, check_examples, read_examples, write_normalised

__all__ = [
    "MAXIMUM_EXAMPLE_BYTES",
    "MINIMUM_EXAMPLES",
    "DamagedExamples",
    "Example",
    "ExamplesError",
    "ExamplesKind",
    "ExamplesSummary",
    "FileFormat",
    "Problem",
    "check_examples",
    "parse_column_options",
    "read_examples",
    "read_normalised",
    "renamed_columns",
    "write_normalised",
]
