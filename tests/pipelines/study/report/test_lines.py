"""One text, two ways to write it."""

import pytest

from pada_agent.pipelines.study.report.lines import Cell, Columns, Item, Row, Table, Title, in_markdown, sections

LINES = [
    Title("Study"),
    "Two sentences.",
    "They are one paragraph.",
    "",
    "Another.",
    Title("Table 1", "table-1"),
    Item("one"),
    Item("two"),
    Columns(("rows", "method", "sql")),
    Row(("300", "pada", Cell("62.4", ("+0.6", "paper 50.5")))),
    Row(("all", "auggpt", "-")),
    Columns(("again",)),
]


def test_markdown():
    assert in_markdown(LINES) == (
        "# Study\nTwo sentences.\nThey are one paragraph.\n\nAnother.\n\n## Table 1\n- one\n- two\n"
        "| rows | method | sql |\n|---|---|---|\n"
        "| 300 | pada | 62.4 (+0.6; paper 50.5) |\n| all | auggpt | - |\n| again |\n|---|\n"
    )


def test_what_a_model_wrote_breaks_no_table_of_markdown():
    (_, _, row) = in_markdown([Columns(("pattern",)), Row(("a | b\nc <img> [x](y) `z` *w*",))]).splitlines()
    assert row == r"| a \| b c \<img> \[x](y) \`z\` \*w\* |"


def test_sections_hold_paragraphs_lists_and_tables_in_order():
    study, table_1 = sections(LINES)
    assert study.blocks == ["Two sentences. They are one paragraph.", "Another."]
    items, table, again = table_1.blocks
    assert items == ["one", "two"]
    assert table.rows[0] == [Cell("300"), Cell("pada"), Cell("62.4", ("+0.6", "paper 50.5"))] and again == Table(("again",))
    assert table.numbers == [False, False, True], "'all' is no number, a dash stands for one"


@pytest.mark.parametrize("lines", [["a sentence"], [Title("T", "t"), "not a table", Row(("1",))]])
def test_what_belongs_to_nothing_is_refused(lines):
    with pytest.raises(ValueError, match="comes before"):
        sections(lines)
