"""A loss of one of several outputs."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

__all__ = ["OnOutput"]


class OnOutput(nn.Module):
    """Call a loss with one of the tensors that a network returns by name.

    Args:
        name: of the tensor.
        loss: maps this tensor and the target to a scalar, such as `AnswerLoss` or `OnLabel`.

    Example:
        >>> loss = OnOutput("logits", AnswerLoss())
        >>> loss({"logits": torch.zeros(2, 3)}, {"label": torch.eye(2, 3)})
        tensor(2.0794)
    """

    def __init__(self, name: str, loss: nn.Module) -> None:
        super().__init__()
        self.name = name
        self.loss = loss

    def forward(self, prediction: Mapping[str, Tensor], target: Mapping[str, Tensor]) -> Tensor:
        """Compute the loss, a scalar.

        Args:
            prediction: the network's tensors by name.
            target: as the loss takes it.
        """
        return self.loss(prediction[self.name], target)
