"""The README's Python runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_python_blocks_run() -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    names: dict = {}
    with pytest.warns(UserWarning, match="refitted by ML"):
        for block in blocks:
            exec(compile(block, str(README), "exec"), names)
    pyplot.close("all")
    assert (names["fits"].status == "converged").all()
    assert round(names["fit"].objective, 4) == 1743.6283


def test_files_it_points_to_exist() -> None:
    text = README.read_text(encoding="utf-8")
    links = re.findall(r"\]\(([^)#]+)\)", text)
    assert links
    for link in links:
        assert "://" in link or (README.parent / link).exists(), link
