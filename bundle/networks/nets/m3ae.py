"""M3AE: masked words named, removed patches painted, and pairs told from strangers, by one cross-modal network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bundle.networks.blocks.alignment import Alignment
from bundle.networks.blocks.co_attention import CoAttention
from bundle.networks.blocks.full_precision import FullPrecisionLinear
from bundle.networks.blocks.masked_image_decoder import MaskedImageDecoder, patch_targets
from bundle.networks.blocks.masked_language_head import MaskedLanguageHead
from bundle.networks.blocks.matching_pairs import MatchingPairs
from bundle.networks.blocks.normal_init import normal_init
from bundle.networks.blocks.patch_masking import PatchMasking
from bundle.networks.encoders.patch_encoder import PatchEncoder
from bundle.networks.encoders.text_encoder import TextEncoder

__all__ = ["M3AE"]


class M3AE(nn.Module):
    """Two single-modality encoders, a fusion of both, and up to three heads for pre-training.

    Published are three passes through the whole network: masked text with whole image, whole text with masked image,
    and whole text with whole image, half of them swapped. Here every encoder sees every input once, whole and masked
    texts in one batch, and fusion computes only what a head reads; losses and gradients are those of the three passes,
    up to rounding and to the draws of dropout.

    Without masked-language head or masked-image decoder their losses are absent (the paper's ablations).

    Reference: Chen et al., "Multi-Modal Masked Autoencoders for Medical Vision-and-Language Pre-Training" (MICCAI 2022,
    arXiv 2209.07098).

    Args:
        image_encoder: images to tokens.
        text_encoder: reports to tokens; its pooling is "tokens".
        fusion: joins the two.
        pairs: chooses the images that texts are judged with.
        patch_masking: chooses the patches that are removed.
        image_decoder: paints them; None for no masked-image loss.
        language_head: names masked words; None for no masked-language loss.
        alignment: embeds images and texts before fusion for a contrastive loss (ours); None as published.
        image_step: k, number of fusion steps after which the decoder reads the image stream.

    Raises:
        ValueError: if the text encoder pools, or fusion has fewer steps than `image_step`.
    """

    def __init__(
        self,
        image_encoder: PatchEncoder,
        text_encoder: TextEncoder,
        fusion: CoAttention,
        pairs: MatchingPairs,
        patch_masking: PatchMasking,
        image_decoder: MaskedImageDecoder | None = None,
        language_head: MaskedLanguageHead | None = None,
        alignment: Alignment | None = None,
        image_step: int = 3,
    ) -> None:
        super().__init__()
        if text_encoder.pooling != "tokens":
            raise ValueError(f"M3AE reads all words: give its text encoder pooling tokens, not {text_encoder.pooling}.")
        if not 0 <= image_step <= fusion.steps:
            raise ValueError(f"The decoder cannot read after step {image_step} of {fusion.steps}; lower image_step.")
        self.image_encoder = image_encoder
        self.text_encoder = text_encoder
        self.fusion = fusion
        self.pairs = pairs
        self.patch_masking = patch_masking
        self.image_decoder = image_decoder
        self.language_head = language_head
        self.alignment = alignment
        self.image_step = image_step
        self.matching_head = FullPrecisionLinear(2 * fusion.width, 2)
        normal_init(self.matching_head, fusion.width)

    def forward(
        self,
        image: Tensor,
        input_ids: Tensor,
        attention_mask: Tensor,
        lengths: Sequence[int] | None = None,
        text_id: Tensor | None = None,
        masked_ids: Tensor | None = None,
        masked_positions: Tensor | None = None,
        masked_labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute what the three losses read.

        Args:
            image: `[B, C, H, W]`, normalised.
            input_ids: int64 `[B, L]`, right padded.
            attention_mask: `[B, L]`, 1 for a token and 0 for padding.
            lengths: token counts, integers of the host; columns beyond the longest are then cut off.
            text_id: int64 `[B]`, equal for equal texts; None: all differ.
            masked_ids: int64 `[B, L]`, texts with masked words; this and the next two are read where there is a
                masked-language head, and come from `transforms.mask_tokens`.
            masked_positions: int64 `[B, M]`, where the words to be named are.
            masked_labels: int64 `[B, M]`, the words, -100 where a position is not to be judged.

        Returns:
            `matching_logits` and `matching_label` `[B]`, fp32; with a masked-language head `mlm_logits` `[B, M, V]` and
            `mlm_labels` `[B, M]`; with a decoder `mim_prediction` and `mim_target` `[B, N, p * p * C]`, and `mim_mask`
            `[B, N]`, 1 for a removed patch; with an alignment `image_embedding` and `text_embedding` `[B, E]`, fp32, of
            length 1.

        Raises:
            ValueError: if the text is too long for the text encoder, or masked words are wanted and not given.
        """
        if lengths is not None:
            longest = max(lengths)
            input_ids, attention_mask = input_ids[:, :longest], attention_mask[:, :longest]
            masked_ids = None if masked_ids is None else masked_ids[:, :longest]
        padding, embedded = attention_mask == 0, self.image_encoder.embed(image)
        images = self.fusion.images(self.image_encoder.encode(embedded))
        if self.language_head is None:
            texts, output = self.encode_text(input_ids, attention_mask), {}
        else:
            if masked_ids is None or masked_positions is None or masked_labels is None:
                raise ValueError("M3AE has a masked-language head and got no masked words; mask tokens of its batches.")
            both = self.encode_text(torch.cat([input_ids, masked_ids]), attention_mask.repeat(2, 1))
            texts, masked = both.chunk(2)
            rows = self.fusion.text_rows(masked, images, masked_positions, padding)
            output = {"mlm_logits": self.language_head(rows), "mlm_labels": masked_labels}
        output |= self._painted(image, embedded, texts, padding)
        means = images.mean(1), _mean(texts, padding)
        if self.alignment is not None:
            output |= self.alignment(*means)
        numbers = torch.arange(len(texts), device=texts.device) if text_id is None else text_id
        chosen, label = self.pairs(*means, numbers)
        logits = self.match(images[chosen], texts, padding)
        return output | {"matching_logits": logits, "matching_label": label}

    def encode_image(self, image: Tensor) -> Tensor:
        """The image stream before fusion: `[B, C, H, W]` to `[B, 1 + N, D]`."""
        return self.fusion.images(self.image_encoder(image))

    def encode_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """The text stream before fusion: `[B, L]` to `[B, L, D]`."""
        return self.fusion.texts(self.text_encoder(input_ids, attention_mask))

    def match(self, images: Tensor, texts: Tensor, padding: Tensor | None = None) -> Tensor:
        """Judge whether images and texts belong together.

        Args:
            images: streams before fusion, `[B, 1 + N, D]`, as of `encode_image`.
            texts: likewise, `[B, L, D]`, as of `encode_text`.
            padding: bool `[B, L]`, true for padding of texts.

        Returns:
            fp32 `[B]`, the logit of their belonging together: the second of the head's two outputs less the first,
            whose binary cross-entropy is the published cross-entropy of the two.
        """
        stranger, partner = self.matching_head(self.fusion.pooled(texts, images, padding)).unbind(-1)
        return partner - stranger

    def _painted(self, image: Tensor, embedded: Tensor, texts: Tensor, padding: Tensor) -> dict[str, Tensor]:
        """Prediction, target and mask of the removed patches, if there is a decoder."""
        if self.image_decoder is None:
            return {}
        mask = self.patch_masking(len(embedded), embedded.shape[1] - 1, embedded.device)
        images = self.fusion.images(self.image_encoder.encode_kept(image, embedded, mask))
        images = self.fusion.images_after(self.image_step, texts, images, padding)
        return {
            "mim_prediction": self.image_decoder(images, mask.restore),
            "mim_target": patch_targets(image, self.image_encoder.patch_size),
            "mim_mask": mask.removed,
        }


def _mean(texts: Tensor, padding: Tensor) -> Tensor:
    """Mean over the tokens that are there: `[B, D]`."""
    words = (~padding)[..., None].to(texts.dtype)
    return (texts * words).sum(1) / words.sum(1)
