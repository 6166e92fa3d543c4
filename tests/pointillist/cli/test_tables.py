from __future__ import annotations

import time

from pointillist.cli.tables import Styled, Table, render


def test_columns_are_as_wide_as_what_they_show() -> None:
    table = Table(["name", "n"], [["a", "10"], ["日本", "9"], [Styled("long", "green"), "8"]], numbers=["n"])
    assert render([table]).splitlines() == ["name   n", "a     10", "日本   9", "long   8"]
    assert "\x1b[32mlong\x1b[0m   8" in render([table], colour=True)


def test_cells_can_not_change_the_layout() -> None:
    table = Table(["a|b"], [["x|y\n"], ["<b>\x1b[0m"]])
    assert "x|y\\n" in render([table])
    assert "| x\\|y\\\\n |" in render([table], form="markdown")
    assert "<td>&lt;b&gt;\\x1b[0m</td>" in render([table], form="html")
    assert render(["left out", table], form="csv") == "a|b\nx|y\\n\n<b>\\x1b[0m"


def test_a_hundred_thousand_rows_are_drawn_in_seconds() -> None:
    started = time.process_time()
    render([Table(["a", "b"], [[str(number), "x"] for number in range(100_000)])])
    assert time.process_time() - started < 10
