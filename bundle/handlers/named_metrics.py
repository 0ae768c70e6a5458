"""A metric that has several results, each under its own name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, cast

from monai.handlers import IgniteMetricHandler
from torch import Tensor

from bundle.metrics.samples import Sampled

__all__ = ["NamedMetrics", "prediction_and_target"]


class _NamedMetric(Protocol):
    def __call__(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> None: ...
    def reset(self) -> None: ...
    def aggregate(self) -> dict[str, float]: ...
    def samples(self) -> Mapping[str, Sampled]: ...


def prediction_and_target(output: Mapping[str, Any]) -> tuple[Any, Any]:
    """What a metric compares, from the output of an engine that does not decollate."""
    return output["pred"], output["label"]


class NamedMetrics(IgniteMetricHandler):
    """Put every result of a metric into `engine.state.metrics` under the metric's own names.

    MONAI's handler puts one value under the name it is attached by. This one ignores that name, unless it is one of the
    results: then it can be the key metric of an evaluator. The values behind the means go into `engine.state.samples`,
    where `Results` finds them. A result that the metric had in an earlier run, but not in this one, is taken away.

    Args:
        metric_fn: has `aggregate` and `samples`, as `RetrievalMetric`.
        output_transform: picks prediction and target from the engine's output.

    Raises:
        ValueError: when it is attached as the key metric under a name that is none of the results.

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
        self._names: set[str] = set()
        self._metrics_result_mode = "flatten"

    def compute(self) -> dict[str, float]:
        """Compute all results, and remember the values behind them."""
        results = self._named.aggregate()
        state: Any = cast(Any, self._engine).state
        if self._name == getattr(state, "key_metric_name", None) and self._name not in results:
            raise ValueError(
                f"the key metric {self._name} is undefined on this list, which has {', '.join(sorted(results))}: "
                "name another key metric, or a list with the labels that it needs"
            )
        samples = getattr(state, "samples", {})
        for name in self._names - results.keys():
            state.metrics.pop(name, None)
            samples.pop(name, None)
        state.samples = {**samples, **self._named.samples()}
        self._names = set(results)
        return results
