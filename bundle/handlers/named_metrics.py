"""A metric that has several results, each under its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from monai.handlers import IgniteMetricHandler
from torch import Tensor

from bundle.metrics.samples import Samples

__all__ = ["NamedMetrics", "prediction_and_target"]


class _NamedMetric(Protocol):
    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None: ...
    def reset(self) -> None: ...
    def aggregate(self) -> dict[str, float]: ...
    def samples(self) -> dict[str, Samples]: ...


def prediction_and_target(output: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a metric compares, from the output of an engine that does not decollate."""
    return output["pred"], output["label"]


class NamedMetrics(IgniteMetricHandler):
    """Put every result of a metric into `engine.state.metrics` under the metric's own names.

    MONAI's handler puts one value under the name it is attached by. This one ignores that name, unless it is one of the
    results: then it can be the key metric of an evaluator. The values behind the means go into `engine.state.samples`,
    where `Results` finds them.

    Args:
        metric_fn: has `aggregate` and `samples`, as `RetrievalMetric`.
        output_transform: picks prediction and target from the engine's output.

    Example:
        >>> key_val_metric = {"retrieval_r5_image_to_text": NamedMetrics(RetrievalMetric())}
    """

    def __init__(
        self,
        metric_fn: _NamedMetric,
        output_transform: Callable[[Any], tuple[Any, Any]] = prediction_and_target,
    ) -> None:
        super().__init__(metric_fn=cast(Any, metric_fn), output_transform=output_transform, save_details=False)
        self._named = metric_fn
        self._metrics_result_mode = "flatten"

    def compute(self) -> dict[str, float]:
        """Compute all results, and remember the values behind them."""
        results = self._named.aggregate()
        state: Any = cast(Any, self._engine).state
        state.samples = getattr(state, "samples", {}) | self._named.samples()
        return results
