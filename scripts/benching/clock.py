"""Where the time of a training step goes."""

from __future__ import annotations

import time
from typing import Any

import torch
from ignite.engine import Events
from monai.engines import IterationEvents, SupervisedTrainer
from torch import nn

__all__ = ["PARTS", "StepClock"]

PARTS = (
    "preparation",
    "image forward",
    "text forward",
    "losses",
    "text backward",
    "image backward",
    "optimiser",
)
"""Parts of a step in the order they take place. Backward through the losses counts as text backward."""


class StepClock:
    """Takes the time at each part of a step, as a handler of the trainer.

    On a CPU the time is that of the process, all threads summed: a busy machine changes it little. On CUDA events are
    recorded between the kernels, so that measuring makes nobody wait.

    It must be the first handler: what others do after the backward pass belongs to the optimiser.

    Args:
        network: a `G2D`, whose encoders tell where a part begins.
        device: where it runs.
    """

    def __init__(self, network: nn.Module, device: torch.device) -> None:
        self.network: Any = network
        self.cuda = device.type == "cuda"
        self.marks: list[Any] = []

    def attach(self, engine: SupervisedTrainer) -> None:
        """Register with a trainer and with the parts of its network."""
        engine.add_event_handler(Events.ITERATION_STARTED, self._start)
        self.network.image_encoder.register_forward_pre_hook(self._mark)
        self.network.text_encoder.register_forward_pre_hook(self._mark)
        engine.add_event_handler(IterationEvents.FORWARD_COMPLETED, self._mark)
        engine.add_event_handler(IterationEvents.LOSS_COMPLETED, self._before_backward)
        engine.add_event_handler(IterationEvents.BACKWARD_COMPLETED, self._mark)
        engine.add_event_handler(IterationEvents.MODEL_COMPLETED, self._mark)

    def seconds(self) -> dict[str, float]:
        """Seconds of each of `PARTS` in the latest step; waits for the device."""
        if self.cuda:
            torch.cuda.synchronize()
            spans = [a.elapsed_time(b) / 1000 for a, b in zip(self.marks, self.marks[1:], strict=False)]
        else:
            spans = [b - a for a, b in zip(self.marks, self.marks[1:], strict=False)]
        return dict(zip(PARTS, spans, strict=True))

    def _start(self, engine: SupervisedTrainer) -> None:
        self.marks.clear()
        self._mark()

    def _before_backward(self, engine: SupervisedTrainer) -> None:
        self._mark()
        # Autograd goes back in the reverse order of the forward pass, and the text was encoded after the image: when
        # it comes to the decoder's last layer, the text is done.
        engine.state.output["pred"]["logits"].grad_fn.register_prehook(self._mark)

    def _mark(self, *_: Any) -> None:
        if self.cuda:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.marks.append(event)
        else:
            self.marks.append(time.process_time())
