"""The sleep deprivation study of Belenky et al. (2003)."""

from importlib import resources

import pandas as pd


def load_sleepstudy() -> pd.DataFrame:
    """Reaction times of 18 subjects on ten days of sleep deprivation.

    Days 0 and 1 were adaptation and training, day 2 the baseline; from day 3 on the subjects
    slept three hours a night. The table is lme4's ``sleepstudy``.

    Returns
    -------
    DataFrame
        180 rows, index 0 to 179. ``Reaction`` (float): average reaction time in milliseconds;
        ``Days`` (int): 0 to 9; ``Subject`` (categorical of text): 18 levels, ``"308"`` to
        ``"372"``.

    References
    ----------
    Belenky, G. et al. (2003). Patterns of performance degradation and restoration during sleep
    restriction and subsequent recovery: a sleep dose-response study. *Journal of Sleep
    Research* 12, 1-12.

    Examples
    --------
    >>> from lmmjax.datasets import load_sleepstudy
    >>> load_sleepstudy().shape
    (180, 3)
    """
    path = resources.files("lmmjax.datasets").joinpath("sleepstudy.csv")
    with path.open(encoding="utf-8") as lines:
        table = pd.read_csv(lines, dtype={"Reaction": float, "Days": "int64", "Subject": str})
    table["Subject"] = table["Subject"].astype("category")
    return table
