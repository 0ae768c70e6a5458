"""DINOv2 of Hugging Face for grey images: built from config values, or loaded with nothing missing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import transformers
from torch import nn

from bundle.networks.weights.errors import WeightsError

__all__ = ["build_dinov2", "load_dinov2"]

_FAMILIES: dict[str, Any] = {
    "dinov2": transformers.Dinov2Model,
    "dinov2_with_registers": transformers.Dinov2WithRegistersModel,
}


def build_dinov2(values: Mapping[str, Any]) -> Any:
    """Build a DINOv2 for one input channel with random weights.

    Args:
        values: values of `transformers.Dinov2Config`; absent ones are those of its base size.

    Returns:
        The `transformers.Dinov2Model`.

    Raises:
        ValueError: if there is no such value.
    """
    if unknown := sorted(set(values) - set(transformers.Dinov2Config().to_dict())):
        raise ValueError(f"A DINOv2 config has no value {', '.join(unknown)}; see transformers.Dinov2Config.")
    return _grey(transformers.Dinov2Model(transformers.Dinov2Config(**values)))


def load_dinov2(source: str) -> Any:
    """Load a DINOv2 in fp32, its patch embedding summed over RGB; no code from the hub is run.

    Args:
        source: hub name or local folder.

    Returns:
        The transformers model, for images of one channel.

    Raises:
        WeightsError: if the files are not at hand or unreadable, it is another family, or weights are missing.

    Example:
        >>> load_dinov2("microsoft/rad-dino").config.hidden_size  # doctest: +SKIP
        768
    """
    try:
        values, _ = transformers.PretrainedConfig.get_config_dict(source)
        if (family := _FAMILIES.get(values.get("model_type", ""))) is None:
            raise ValueError(f"it is a {values.get('model_type')!r}, not one of {', '.join(_FAMILIES)}")
        model, info = family.from_pretrained(source, dtype="float32", output_loading_info=True)
    except (OSError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"The image encoder {source!r} cannot be loaded ({str(error).splitlines()[0]}); give a folder with "
            "config.json and weights of a DINOv2, or a hub name while online."
        ) from error
    if missing := sorted(info["missing_keys"]):
        raise WeightsError(
            f"The image encoder {source!r} lacks {len(missing)} tensors, such as {missing[0]}, which would stay "
            "random; give a complete one."
        )
    return _grey(model)


def _grey(model: Any) -> Any:
    """Let a model take one channel: the response to grey is that to the grey image repeated over its channels."""
    embedding = model.embeddings.patch_embeddings
    old = embedding.projection
    new = nn.Conv2d(1, old.out_channels, old.kernel_size, old.stride)
    new.load_state_dict({"weight": old.weight.detach().sum(1, keepdim=True), "bias": old.bias.detach()})
    embedding.projection, embedding.num_channels, model.config.num_channels = new, 1, 1
    return model
