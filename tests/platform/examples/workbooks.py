"""Small .xlsx files, written by hand: cells of any type, at any place."""

from __future__ import annotations

import zipfile
from io import BytesIO
from xml.sax.saxutils import escape

_MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"'
_OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def column_name(number: int) -> str:
    """A, B, ... of 0, 1, ..."""
    return chr(65 + number)


def sheet_data(rows: list[list[object]], start: int = 1) -> str:
    """The XML of rows; None is a cell that is left out."""
    xml = ""
    for number, row in enumerate(rows, start=start):
        cells = ""
        for place, value in enumerate(row):
            where = f'r="{column_name(place)}{number}"'
            if isinstance(value, bool):
                cells += f'<c {where} t="b"><v>{int(value)}</v></c>'
            elif isinstance(value, int | float):
                cells += f"<c {where}><v>{value}</v></c>"
            elif value is not None:
                text = escape(str(value))
                cells += f'<c {where} t="inlineStr"><is><t xml:space="preserve">{text}</t></is></c>'
        xml += f'<row r="{number}">{cells}</row>'
    return xml


def workbook(
    *sheets: str, shared: str | None = None, extra: dict[str, bytes] | None = None
) -> bytes:
    """A file with these sheets, each given as the XML of its rows."""
    out = BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="rId1"'
            f' Type="{_OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        names = "".join(
            f'<sheet name="S{n}" sheetId="{n}" r:id="rId{n}"/>' for n in range(1, len(sheets) + 1)
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook {_MAIN} xmlns:r="{_OFFICE}"><sheets>{names}</sheets></workbook>',
        )
        links = "".join(
            f'<Relationship Id="rId{n}" Type="{_OFFICE}/worksheet"'
            f' Target="worksheets/sheet{n}.xml"/>'
            for n in range(1, len(sheets) + 1)
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{_PACKAGE}">{links}</Relationships>',
        )
        if shared is not None:
            archive.writestr("xl/sharedStrings.xml", f"<sst {_MAIN}>{shared}</sst>")
        for number, data in enumerate(sheets, start=1):
            archive.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f"<worksheet {_MAIN}><sheetData>{data}</sheetData></worksheet>",
            )
        for name, content in (extra or {}).items():
            archive.writestr(name, content)
    return out.getvalue()
