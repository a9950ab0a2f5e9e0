"""Generated data with a known number of each defect: what is found, and what is found wrongly."""

from __future__ import annotations

import csv
import json
import random
from io import BytesIO
from pathlib import Path

import pytest
from tests.benchmarks.planted import Planted, planted, write_chats

from tunesmith.platform.data_report.contradictions import find_contradictions
from tunesmith.platform.data_report.exact_duplicates import duplicate_groups
from tunesmith.platform.data_report.label_errors import suspect_rows
from tunesmith.platform.data_report.leakage import leaked_rows
from tunesmith.platform.data_report.near_duplicates import near_duplicate_groups
from tunesmith.platform.data_report.outliers import foreign_rows
from tunesmith.platform.data_report.report import check_file, read_table
from tunesmith.platform.data_report.table import Table
from tunesmith.platform.demo.tickets import train_path
from tunesmith.platform.examples import read_examples

RECALL, FALSE_ALARMS = 0.95, 0.02


@pytest.fixture(scope="module")
def made() -> Planted:
    return planted(4000, 60, seed=3)


@pytest.fixture(scope="module")
def folder(made: Planted, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("planted")
    write_chats(folder / "training.jsonl", made.rows)
    write_chats(folder / "validation.jsonl", made.validation)
    return folder


@pytest.fixture(scope="module")
def table(folder: Path) -> Table:
    return read_table(folder / "training.jsonl")


def found_rows(check: str, table: Table) -> set[int]:
    copies = [row for rows in duplicate_groups(table) for row in rows[1:]]
    if check == "exact_duplicates":
        return set(copies)
    if check == "near_duplicates":
        groups = near_duplicate_groups(table, copies)
        return {row for rows in groups for row in rows[1:]}
    if check == "contradictions":
        return {row for rows in find_contradictions(table).groups for row in rows}
    if check == "label_errors":
        return {row for row, _, _ in suspect_rows(table)}
    return set(foreign_rows(table))


@pytest.mark.parametrize(
    "check",
    ["exact_duplicates", "near_duplicates", "contradictions", "label_errors", "outliers"],
)
def test_planted_defects_are_found_and_clean_rows_are_left_alone(
    check: str, made: Planted, table: Table
) -> None:
    found = found_rows(check, table)
    assert made.recall(check, found) >= RECALL
    assert made.false_alarms(found) <= FALSE_ALARMS


def test_planted_leakage_is_found(made: Planted, table: Table, folder: Path) -> None:
    exact, near = leaked_rows(table, read_table(folder / "validation.jsonl"))
    assert made.recall("leakage", exact) >= RECALL
    assert made.recall("near_leakage", near) >= RECALL
    assert made.leakage_false_alarms([*exact, *near]) <= FALSE_ALARMS


def test_the_same_file_gives_the_same_report(folder: Path) -> None:
    one, other = (
        check_file(folder / "training.jsonl", validation=folder / "validation.jsonl").as_json()
        for _ in range(2)
    )
    assert json.dumps(one) == json.dumps(other)


def _demo_rows() -> list[list[str]]:
    with train_path().open(newline="", encoding="utf-8") as stream:
        return list(csv.reader(stream))[1:]


def _table(rows: list[tuple[str, str]]) -> Table:
    text = "".join(json.dumps({"prompt": a, "completion": b}) + "\n" for a, b in rows)
    return Table.of(read_examples(BytesIO(text.encode()), "rows.jsonl"))


@pytest.mark.parametrize("rows", [100, 200, 400])
def test_right_labels_are_not_suspected_because_there_are_few(rows: int) -> None:
    drawn = random.Random(rows).sample(_demo_rows(), rows)
    suspects = suspect_rows(_table([(asked, label) for _, asked, label in drawn]))
    assert len(suspects) <= 0.02 * rows


def test_wrong_labels_are_found_though_the_classifier_agrees_with_few() -> None:
    # Sorted by label, as exports often are.
    rows = sorted(((asked, label) for _, asked, label in _demo_rows()), key=lambda row: row[1])
    labels = sorted({label for _, label in rows})
    chosen = random.Random(1)
    wrong = set(chosen.sample(range(len(rows)), len(rows) // 4))
    spoiled = [
        (asked, chosen.choice([other for other in labels if other != label]))
        if place in wrong
        else (asked, label)
        for place, (asked, label) in enumerate(rows)
    ]
    found = {row for row, _, _ in suspect_rows(_table(spoiled))}
    assert len(found & wrong) >= 0.1 * len(wrong)
    assert len(found - wrong) <= 0.05 * len(rows)
