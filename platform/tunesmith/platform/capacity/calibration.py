"""The figures that plans are made from: each with its unit, its basis and its source."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, cast, get_args

from tunesmith.platform.domain.errors import InvalidRequest

Basis = Literal["measured", "published", "assumed"]
BASES: tuple[Basis, ...] = get_args(Basis)
"""Measured with this code; published by others; assumed, which is worth least."""

_KEYS = frozenset({"value", "unit", "basis", "source"})


@dataclass(frozen=True)
class Figure:
    """One figure, and how far it is to be trusted.

    Attributes:
        name: its path, such as "gateway.request_seconds".
        source: where it was measured, or why it is assumed.
    """

    name: str
    value: float
    unit: str
    basis: Basis
    source: str


class Calibration:
    """Figures by name. What is read is remembered, so that a plan can say what it rests on."""

    def __init__(self, figures: Mapping[str, Figure]) -> None:
        self._figures = dict(figures)
        self._read: dict[str, None] = {}

    def __getitem__(self, name: str) -> float:
        figure = self._figures[name]
        self._read[name] = None
        return figure.value

    def first(self, *names: str) -> float:
        """The first of these that there is: the hardware's own before everybody's."""
        return self[next(name for name in names if name in self._figures)]

    @property
    def figures(self) -> tuple[Figure, ...]:
        """All of them."""
        return tuple(self._figures.values())

    @property
    def used(self) -> tuple[Figure, ...]:
        """Those that were read, in the order of first use."""
        return tuple(self._figures[name] for name in self._read)

    def group(self, prefix: str) -> tuple[str, ...]:
        """The names right below `prefix`: those of the hardware, say."""
        start = f"{prefix}."
        return tuple(
            dict.fromkeys(
                name[len(start) :].partition(".")[0]
                for name in self._figures
                if name.startswith(start)
            )
        )

    def with_(self, figures: Iterable[Figure]) -> Calibration:
        """With some figures in the place of others."""
        return Calibration(self._figures | {figure.name: figure for figure in figures})

    def scaled(self, names: Iterable[str], factor: float) -> Calibration:
        """With some figures times a factor: what if they are wrong?"""
        figures = self._figures
        return self.with_(
            Figure(f.name, f.value * factor, f.unit, f.basis, f.source)
            for f in (figures[name] for name in names)
        )


def shipped() -> Calibration:
    """The figures that come with the platform."""
    text = files(__package__).joinpath("calibration.toml").read_text("utf-8")
    return Calibration({figure.name: figure for figure in _figures(text, "calibration.toml")})


def read_calibration(path: Path | None) -> Calibration:
    """The platform's figures, with those of a file of one's own in their place.

    Raises:
        InvalidRequest: the file cannot be read, or a figure is not valid; the message names it.
    """
    calibration = shipped()
    if path is None:
        return calibration
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise _invalid(f"The calibration {path} cannot be read: {why}.") from error
    own = _figures(text, str(path))
    known = {figure.name: figure for figure in calibration.figures}
    hardware = {
        *("memory_gib", "bandwidth_gb", "teraflops", "training_efficiency"),
        *("hour_price", "tokens_per_pass", "layer_seconds"),
    }
    for figure in own:
        parts = figure.name.split(".")
        new_hardware = len(parts) == 3 and parts[0] == "hardware" and parts[2] in hardware
        if figure.name not in known and not new_hardware:
            raise _invalid(
                f"{path} has an unknown figure {figure.name}; known are {', '.join(known)}, and"
                f" hardware.NAME with {', '.join(sorted(hardware))}."
            )
        if figure.name in known and figure.unit != known[figure.name].unit:
            raise _invalid(
                f"{path}: {figure.name} is in {known[figure.name].unit}, not in {figure.unit}."
            )
    return calibration.with_(own)


def as_toml(figures: Iterable[Figure]) -> str:
    """Figures as a calibration file."""
    return "\n".join(
        f"[{figure.name}]\nvalue = {figure.value!r}\nunit = {_quoted(figure.unit)}\n"
        f"basis = {_quoted(figure.basis)}\nsource = {_quoted(figure.source)}\n"
        for figure in figures
    )


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ")
    return f'"{escaped}"'


def _figures(text: str, where: str) -> list[Figure]:
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _invalid(f"{where} is not valid TOML: {error}.") from error
    return list(_walk(content, (), where))


def _walk(content: dict[str, Any], path: tuple[str, ...], where: str) -> Iterable[Figure]:
    for key, value in content.items():
        name = ".".join((*path, key))
        if not isinstance(value, dict):
            raise _invalid(
                f"{where}: {name} is no figure: a table with {', '.join(sorted(_KEYS))}."
            )
        if "value" in value:
            yield _figure(name, value, where)
        else:
            yield from _walk(value, (*path, key), where)


def _figure(name: str, content: dict[str, Any], where: str) -> Figure:
    if set(content) != _KEYS:
        raise _invalid(f"{where}: {name} needs exactly {', '.join(sorted(_KEYS))}.")
    value, basis = content["value"], content["basis"]
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise _invalid(f"{where}: {name}: value must be a number; it is {value!r}.")
    if value <= 0:
        raise _invalid(f"{where}: {name}: value must be above 0; it is {value}.")
    if basis not in BASES:
        raise _invalid(
            f"{where}: {name}: basis must be one of {', '.join(BASES)}; it is {basis!r}."
        )
    for key in ("unit", "source"):
        if not isinstance(content[key], str) or not content[key].strip():
            raise _invalid(f"{where}: {name}: {key} must be a text.")
    return Figure(name, float(value), content["unit"], cast("Basis", basis), content["source"])


def _invalid(message: str) -> InvalidRequest:
    return InvalidRequest(message, param="calibration", code="invalid_calibration")
