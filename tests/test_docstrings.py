"""The examples in docstrings run and print what they say."""

import doctest
import importlib
import pkgutil
import warnings

import pytest

import lmmjax

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(lmmjax.__path__, "lmmjax.")
    if not module.name.endswith("__main__")
)


@pytest.mark.parametrize("name", ["lmmjax", *MODULES])
def test_examples(name: str) -> None:
    if ".plots" in name:
        pytest.importorskip("matplotlib")
    module = importlib.import_module(name)
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = doctest.testmod(module, optionflags=flags)
    assert result.failed == 0
