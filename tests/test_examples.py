"""The tutorials run, and print what is committed beside them."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
TUTORIALS = ["sleepstudy", "genes_as_groups", "vaccine_response", "one_way"]
NUMBER = re.compile(r"[-+]?\d+(?:,\d{3})*(?:\.\d+)?(?:e[-+]?\d+)?$")


@pytest.mark.parametrize("name", TUTORIALS)
def test_tutorial(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main()
    printed = capsys.readouterr().out.splitlines()
    expected = (EXAMPLES / "output" / f"{name}.txt").read_text().splitlines()
    assert len(printed) == len(expected)
    for ours, theirs in zip(printed, expected, strict=True):
        same_line(ours, theirs)


def same_line(ours: str, theirs: str) -> None:
    """Equal words; numbers equal up to one in their last place."""
    ours_words, theirs_words = ours.split(), theirs.split()
    assert len(ours_words) == len(theirs_words), (ours, theirs)
    for a, b in zip(ours_words, theirs_words, strict=True):
        if a == b:
            continue
        assert NUMBER.match(b.strip("(),;:%")), (ours, theirs)
        a, b = (word.strip("(),;:%").replace(",", "") for word in (a, b))
        decimals = len(b.split("e")[0].partition(".")[2])
        exponent = int(b.partition("e")[2] or 0)
        assert abs(float(a) - float(b)) <= 1.01 * 10.0 ** (exponent - decimals), (ours, theirs)


def test_figures_of_the_tutorials(tmp_path: Path) -> None:
    spec = importlib.util.spec_from_file_location("one_way", EXAMPLES / "one_way.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.simpson(tmp_path / "figures")
    assert (tmp_path / "figures" / "simpson.png").stat().st_size > 10_000
