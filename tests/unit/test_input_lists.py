"""Lists: every encoding, every delimiter, every bad row told, nothing else lost."""

from __future__ import annotations

import contextlib
import sys
import zipfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gs_video_report.batch.data_models import InputProblem
from gs_video_report.batch.inputs import text as input_text
from gs_video_report.batch.inputs import xlsx_list as input_xlsx
from gs_video_report.batch.inputs.columns import find_columns
from gs_video_report.batch.inputs.csv_list import records, sniff_delimiter
from gs_video_report.batch.inputs.lists import Entry, read_list
from gs_video_report.batch.inputs.text import BadRow
from gs_video_report.errors import DependencyMissing, InputListError


def entries(path: Path, **options: str) -> list[Entry]:
    return [e for e in read_list(path, **options) if isinstance(e, Entry)]


def rejected(path: Path, **options: str) -> list[InputProblem]:
    return [e for e in read_list(path, **options) if isinstance(e, InputProblem)]


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


# --- text ------------------------------------------------------------------------------------


def test_text_list_knows_comments_blank_lines_and_quotes(tmp_path: Path) -> None:
    text = '# head\n\n  a.mp4  \n"#1 intro.mp4"\n\'b c.mp4\'\n-x.mp4\n"half.mp4\n""\n'
    path = write(tmp_path / "l.txt", text)
    assert [(e.value, e.origin) for e in entries(path)] == [
        ("a.mp4", "l.txt:3"),
        ("#1 intro.mp4", "l.txt:4"),
        ("b c.mp4", "l.txt:5"),
        ("-x.mp4", "l.txt:6"),
        ('"half.mp4', "l.txt:7"),
    ]
    assert [(p.origin, p.reason) for p in rejected(path)] == [
        ("l.txt:8", "the quotes hold nothing")
    ]


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "gb18030"]
)  # utf-16 and utf-32 write their mark
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_encodings_and_line_ends_give_the_same_names(
    tmp_path: Path, encoding: str, line_end: str
) -> None:
    text = line_end.join(["第三讲：反向传播.mp4", "b.mp4", ""])
    path = write(tmp_path / "l.txt", text.encode(encoding))
    assert [e.value for e in entries(path)] == ["第三讲：反向传播.mp4", "b.mp4"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        (b"a.mp4\0b.mp4\n", "binary data"),
        ("a.mp4\n".encode("utf-16-le"), "binary data"),
        (b"\xff\xfea\x00\x00\x00", "binary data"),
        (b"ok\n\xff\xff\n", "neither UTF-8 nor GB18030"),
        (b"\xef\xbb\xbfok\n\xff\n", "damaged further on"),
        (b"\xff\xfea\x00b", "damaged further on"),
        (b"PK\x03\x04rest", "spreadsheet or archive"),
    ],
)
def test_what_is_no_text_is_refused_as_a_whole(tmp_path: Path, content: bytes, part: str) -> None:
    path = write(tmp_path / "l.txt", content)
    with pytest.raises(InputListError, match=part):
        entries(path)


def test_a_gigantic_line_costs_only_itself(tmp_path: Path) -> None:
    path = write(tmp_path / "l.txt", b"a.mp4\n" + b"x" * 1_000_000 + b"\nb.mp4\n" + b"y" * 70_000)
    assert [e.value for e in entries(path)] == ["a.mp4", "b.mp4"]
    assert [p.origin for p in rejected(path)] == ["l.txt:2", "l.txt:4"]


def test_a_line_of_exactly_the_limit_is_taken(tmp_path: Path) -> None:
    longest = "x" * input_text.MAX_LINE_CHARS
    path = write(tmp_path / "l.txt", f"{longest}\n{longest}y\n{longest}")
    assert [e.origin for e in entries(path)] == ["l.txt:1", "l.txt:3"]


def test_an_empty_list_gives_nothing(tmp_path: Path) -> None:
    for name in ("l.txt", "l.csv"):
        assert list(read_list(write(tmp_path / name, b""))) == []
        assert list(read_list(write(tmp_path / name, b"\xef\xbb\xbf\n\n"))) == []


def test_a_list_that_is_no_file_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none.txt"):
        with pytest.raises(InputListError):
            entries(path)


def test_columns_cannot_be_asked_of_a_text_list(tmp_path: Path) -> None:
    with pytest.raises(InputListError, match="no columns"):
        entries(write(tmp_path / "l.txt", "a.mp4\n"), template_column="t")


# --- CSV --------------------------------------------------------------------------------------


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_csv_finds_delimiter_and_columns(tmp_path: Path, delimiter: str) -> None:
    rows = [
        ["Video Path", "Template", "output-name", "PRIORITY", "Teacher"],
        ["a.mp4", "t1", "first", "3", "Ann"],
        ["b.mp4", "", "", "", ""],
    ]
    text = "\n".join(delimiter.join(row) for row in rows)
    first, second = entries(write(tmp_path / "l.csv", text))
    assert first == Entry(
        "l.csv:2", "a.mp4", None, "t1", "first", 3, {"Teacher": "Ann"}, encoding="utf-8"
    )
    assert second == Entry("l.csv:3", "b.mp4")


def test_chinese_headers_in_gb18030(tmp_path: Path) -> None:
    text = (
        "路径,链接,模板,优先级,输出名,课程\n第一讲.mp4,,t,0,导论,机器学习\n,https://e.org/v,,,,\n"
    )
    path = write(tmp_path / "l.csv", text.encode("gb18030"))
    first, second = entries(path)
    assert (first.value, first.is_url, first.template) == ("第一讲.mp4", None, "t")
    assert (first.priority, first.output_name) == (0, "导论")
    assert first.metadata == {"课程": "机器学习"}
    assert (second.value, second.is_url) == ("https://e.org/v", True)


def test_a_cell_may_hold_delimiters_quotes_and_line_breaks(tmp_path: Path) -> None:
    text = 'path,note\n"a,b ""c"".mp4","one\r\ntwo"\nd.mp4,x\n'
    first, second = entries(write(tmp_path / "l.csv", text))
    assert first.value == 'a,b "c".mp4'
    assert first.metadata == {"note": "one\ntwo"}
    assert (second.value, second.origin) == ("d.mp4", "l.csv:4")


def test_a_quote_that_is_never_closed_costs_its_line_only(tmp_path: Path) -> None:
    text = 'path,n\n"a.mp4,1\nb.mp4,2\n"c.mp4","3"\nd.mp4,4\n"e.mp4,5\n'
    path = write(tmp_path / "l.csv", text)
    assert [e.value for e in entries(path)] == ["b.mp4", "c.mp4", "d.mp4"]
    assert [(p.origin, p.value) for p in rejected(path)] == [
        ("l.csv:2", '"a.mp4,1'),
        ("l.csv:6", '"e.mp4,5'),
    ]


def test_rows_of_the_wrong_width_and_values_are_told_one_by_one(tmp_path: Path) -> None:
    text = (
        "path,url,output_name,priority\n"
        "a.mp4,,,\n"
        "b.mp4,\n"
        "c.mp4,,,,extra\n"
        "d.mp4,https://e.org,,\n"
        ",,x,\n"
        "e.mp4,,,101\n"
        "f.mp4,,,-1\n"
        "g.mp4,,,high\n"
        "h.mp4,,a/b,\n"
        "i.mp4,,.hidden,\n"
        f"j.mp4,,{'n' * 201},\n"
        '"k"x.mp4,,,\n'
        ",,,\n"
        "z.mp4,,,100\n"
    )
    path = write(tmp_path / "l.csv", text)
    assert [(e.value, e.priority) for e in entries(path)] == [("a.mp4", None), ("z.mp4", 100)]
    found = {p.origin: p.reason for p in rejected(path)}
    assert list(found) == [f"l.csv:{n}" for n in range(3, 14)]
    assert found["l.csv:3"] == "the row has 2 fields, the header has 4"
    assert found["l.csv:4"] == "the row has 5 fields, the header has 4"
    assert "both a path and an address" in found["l.csv:5"]
    assert "neither a path nor an address" in found["l.csv:6"]
    assert "0 (first) to 100, not 101" in found["l.csv:7"]
    assert "plain name" in found["l.csv:10"]
    assert "begin with a dot" in found["l.csv:11"]
    assert "longer than 200 bytes" in found["l.csv:12"]
    assert "malformed" in found["l.csv:13"]


def test_a_table_without_a_path_column_is_refused_with_what_was_found(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "title,teacher\na,b\n")
    with pytest.raises(InputListError, match="no column is named path or url") as caught:
        entries(path)
    assert "title, teacher" in caught.value.hint


def test_two_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputListError, match="two columns are named"):
        entries(write(tmp_path / "l.csv", "path,Path\na,b\n"))


def test_the_more_telling_of_two_headers_wins() -> None:
    assert find_columns(["文件名", "路径"]).roles == {"path": 1}


def test_template_column_is_taken_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "path,template,Report Kind\na.mp4,t1,t2\n")
    (entry,) = entries(path, template_column="report_kind")
    assert entry.template == "t2"
    assert entry.metadata == {"template": "t1"}
    with pytest.raises(InputListError, match="no column is named nope"):
        entries(path, template_column="nope")


def test_excels_delimiter_line_is_obeyed(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", "sep=;\r\npath;note\r\na,b.mp4;x\r\n")
    (entry,) = entries(path)
    assert (entry.value, entry.origin) == ("a,b.mp4", "l.csv:3")


def test_shown_rows_hold_no_password(tmp_path: Path) -> None:
    path = write(tmp_path / "l.csv", 'url,n\nhttps://u:geheim@e.org/a\n"https://u:geheim@e.org,1\n')
    found = rejected(path)
    assert len(found) == 2
    assert "geheim" not in repr(found)


def test_delimiter_is_the_one_that_makes_sense_of_the_header() -> None:
    assert sniff_delimiter("a,b;path;c") == ";"
    assert sniff_delimiter("path") == ","
    assert sniff_delimiter('"path|x",url') == ","


@given(st.lists(st.text(alphabet='ab,"\n', max_size=12), max_size=12))
@settings(max_examples=200, deadline=None)
def test_no_line_is_lost_however_the_quotes_stand(lines: list[str]) -> None:
    """Every non-blank line belongs to a row, and the rows' numbers ascend."""
    flat = [part for line in lines for part in line.split("\n")]
    numbered = [(i + 1, text) for i, text in enumerate(flat)]
    rows = list(records(iter(numbered), ","))
    starts = [number for number, _ in rows]
    assert starts == sorted(set(starts))
    covered = set()
    for number, cells in rows:
        height = 1 if isinstance(cells, BadRow) else 1 + sum(c.count("\n") for c in cells)
        covered.update(range(number, number + height))
    assert {n for n, text in numbered if text.strip()} <= covered


# --- XLSX -------------------------------------------------------------------------------------


def workbook(path: Path, rows: list[list[object]], title: str = "Sheet1") -> Path:
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    book.active.title = title
    for row in rows:
        book.active.append(row)
    other = book.create_sheet("Zweite")
    other.append(["url"])
    other.append(["https://e.org/v.mp4"])
    book.save(path)
    return path


def test_workbook_rows_become_entries(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "l.xlsx",
        [["路径", "优先级", "年"], ["第一讲.mp4", 3.0, 2026], [None, None, None], ["b.mp4"]],
    )
    assert entries(path) == [
        Entry("l.xlsx:2", "第一讲.mp4", None, priority=3, metadata={"年": "2026"}),
        Entry("l.xlsx:4", "b.mp4"),
    ]


def test_cells_beyond_the_header_are_told_and_wide_sheets_stay_cheap(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "l.xlsx",
        [[None], ["path", "note"], ["a.mp4", "x", "extra"], ["b.mp4", None, None], ["c.mp4"]],
    )
    assert [e.value for e in entries(path)] == ["b.mp4", "c.mp4"]
    (problem,) = rejected(path)
    assert (problem.origin, problem.value) == ("l.xlsx:3", "a.mp4 | x | extra")


def test_formulas_are_not_evaluated(tmp_path: Path) -> None:
    path = workbook(
        tmp_path / "l.xlsx",
        [
            ["url", "note"],
            ['=HYPERLINK("https://e.org/a.mp4","A")', "=1+1"],
            ['="https://"&"x"', ""],
        ],
    )
    (entry,) = entries(path)
    assert (entry.value, entry.is_url) == ("https://e.org/a.mp4", True)
    assert [(p.origin, p.reason) for p in rejected(path)] == [
        ("l.xlsx:3", "a cell of the row holds a formula; paste its value instead")
    ]


def test_a_sheet_is_chosen_by_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "l.xlsx", [["path"], ["a.mp4"]])
    assert [e.value for e in entries(path, sheet="zweite")] == ["https://e.org/v.mp4"]
    with pytest.raises(InputListError, match="no sheet is named nope") as caught:
        entries(path, sheet="nope")
    assert "Sheet1, Zweite" in caught.value.hint


def test_a_workbook_that_unpacks_to_too_much_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.xlsx"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
        archive.writestr("xl/sharedStrings.xml", b"\0" * (input_xlsx.MAX_PART_BYTES + 1))
    with pytest.raises(InputListError, match="unpack to more than 64 MB"):
        entries(path)


def test_a_workbook_with_entities_is_not_read(tmp_path: Path) -> None:
    path = workbook(tmp_path / "l.xlsx", [["path"], ["a.mp4"]])
    bad = tmp_path / "bad.xlsx"
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(bad, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "xl/workbook.xml":
                data = b'<!DOCTYPE x [<!ENTITY a "aaaa">]>' + data
            new.writestr(name, data)
    with pytest.raises(InputListError, match="XML entities"):
        entries(bad)


@pytest.mark.parametrize("keep", [0, 10, 500, 3000])
def test_a_damaged_workbook_is_one_clear_error(tmp_path: Path, keep: int) -> None:
    path = workbook(tmp_path / "l.xlsx", [["path"], ["a.mp4"]])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputListError):
        entries(path)


def test_missing_package_names_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openpyxl", None)
    with pytest.raises(DependencyMissing) as caught:
        entries(write(tmp_path / "l.xlsx", b"x"))
    assert 'pip install "gs-video-report[xlsx]"' in caught.value.hint


def test_old_excel_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputListError, match=r"\.xls workbooks cannot be read"):
        entries(write(tmp_path / "l.xls", b"\xd0\xcf\x11\xe0"))


@given(data=st.binary(max_size=400), name=st.sampled_from(["l.txt", "l.csv", "l.tsv", "l.xlsx"]))
@settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_bytes_give_entries_problems_or_a_list_error(
    tmp_path: Path, data: bytes, name: str
) -> None:
    path = write(tmp_path / name, data)
    with contextlib.suppress(InputListError):
        for found in read_list(path):
            assert isinstance(found, Entry | InputProblem)
            assert found.origin.startswith(f"{name}:")
