from __future__ import annotations

import pytest

from bundle.metrics.class_names import metric_suffixes


def test_everything_but_letters_and_digits_is_an_underscore() -> None:
    assert metric_suffixes(["Pleural Effusion", "COVID-19", "left/right (lung)"]) == [
        "Pleural_Effusion",
        "COVID_19",
        "left_right_lung",
    ]


@pytest.mark.parametrize("classes", [["a b", "a-b"], ["macro"], ["?"], ["edema", "mgca"]])
def test_names_that_would_be_mistaken_are_refused(classes: list[str]) -> None:
    with pytest.raises(ValueError, match="rename it"):
        metric_suffixes(classes)


def test_no_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one class"):
        metric_suffixes([])
