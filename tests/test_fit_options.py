import cases
import numpy as np
import pytest

from lmmjax.errors import LmmError, MissingValueError, NonFiniteError, ShapeError


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"path": "nonsense"}, "path is one of 'auto', 'compressed'.*not 'nonsense'"),
        ({"na": "rasie"}, "na is one of 'fit', 'raise', not 'rasie'"),
        ({"n_starts": 0}, "n_starts is a whole number from 1"),
        ({"n_starts": 2.5}, "n_starts is a whole number from 1"),
        ({"chunk_size": -3}, "chunk_size is a whole number from 1"),
        ({"memory": 0}, "memory is a number of bytes"),
        ({"reml": "ML"}, r"reml is True \(REML\) or False \(ML\), not 'ML'"),
        ({"reml": None}, "reml is True"),
    ],
)
def test_arguments_that_are_none_of_the_choices(wrong, message):
    with pytest.raises(LmmError, match=message):
        cases.model("crossed").fit(cases.responses(), **wrong)


def test_start_has_to_be_a_theta():
    model = cases.model("crossed")
    with pytest.raises(ShapeError, match="theta has 2 entries: g"):
        model.fit(cases.responses(), start=[1.0])
    with pytest.raises(NonFiniteError, match="not finite"):
        model.fit(cases.responses(), start=[1.0, np.inf])


def test_missing_values_are_listed_where_none_may_be():
    y = cases.responses(8).copy()
    y[:7, 1] = np.nan
    y[2, 4] = np.nan
    with pytest.raises(MissingValueError) as caught:
        cases.model("crossed").fit(y, na="raise")
    told = str(caught.value)
    assert told.startswith("2 of 8 responses have missing values: ")
    assert "1 at 's0', 's1', 's2', 's3', 's4' and 2 more; " in told
    assert "4 at 's2'. na='fit' fits each on what it has" in told
