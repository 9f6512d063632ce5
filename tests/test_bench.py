"""Claims about how figures are shown and compared; the figures themselves are not asserted anywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.bench.__main__ import main
from tests.bench.results import Figure, Results


def written(path: Path, *figures: Figure) -> str:
    Results(list(figures)).write(path)
    return str(path)


def test_a_figure_that_only_one_run_has_is_shown_for_that_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = written(tmp_path / "a.json", Figure("calls", 10), Figure("gone", 3))
    after = written(tmp_path / "b.json", Figure("calls", 20), Figure("new", 4))
    assert main(["compare", before, after]) == 0
    rows = [line.split()[:4] for line in capsys.readouterr().out.splitlines()[1:4]]
    assert rows == [["calls", "10", "20", "2.00"], ["new", "-", "4", "-"], ["gone", "3", "-", "-"]]


@pytest.mark.parametrize(
    "text", [None, "", "{}", "[]", '{"figures": [{"name": "x"}]}', '{"figures": []}']
)
def test_what_is_no_result_is_refused_by_its_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str | None
) -> None:
    good, bad = written(tmp_path / "a.json"), tmp_path / "bad.json"
    if text is not None:
        bad.write_text(text, encoding="utf-8")
    with pytest.raises(SystemExit) as ended:
        main(["compare", good, str(bad)])
    assert ended.value.code == 2
    assert (
        f"{bad} {'cannot be read' if text is None else 'is no result of bench'}"
        in capsys.readouterr().err
    )


def test_a_table_without_rows_is_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    results = Results()
    results.add(Figure("start", 1.0, bar=2.0))
    capsys.readouterr()
    assert "PROMISES" in results.table()
    assert "MEASURED" not in results.table()
