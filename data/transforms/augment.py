"""Augmentation of whole batches on their own device: paired modalities, and images for classification."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..batch import Batch
from ..config import AugmentConfig, ImageAugmentConfig
from ..reading import upload
from .color import random_color
from .geometry import maps_of, random_crop, warp_bilinear, warp_modalities, warp_nearest


class PairedAugment(nn.Module):
    """Augment a batch of paired modalities: one geometry for all of them, then what suits each.

    All modalities and the label are cropped, resized back and flipped alike, each at its own size: color by
    bilinear interpolation, the label by the nearest pixel, what has holes between readings only
    (`warp_modalities`; a crop does not rescale meters); then color jitter for `rgb`, a scale factor and lost
    blocks for `depth`. Others that are floating only move; `index` and labels of whole images pass.

    All draws are from torch's global CPU generator; a GPU gets those of a kind (boxes, colors, depth) in one
    pinned copy that nobody waits for. Acts in training and evaluation mode alike: call it in the training
    step only.
    """

    def __init__(self, config: AugmentConfig | None = None) -> None:
        super().__init__()
        self.config = config or AugmentConfig()

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """A batch with the same names, shapes, types and devices; the one given is left as it is."""
        result = dict(batch)
        if self.config.moves:
            result.update(self._move(batch))
        if "rgb" in result:
            result["rgb"] = random_color(result["rgb"], self.config)
        if "depth" in result:
            result["depth"] = self._disturb(result["depth"])
        return result

    def _move(self, batch: Batch) -> Batch:
        """The modalities at the places that one draw of boxes sends them to."""
        modalities = {n: v for n, v in batch.items() if v.ndim == 4 and v.is_floating_point()}
        masks = {n: v for n, v in batch.items() if v.ndim == 3 and not v.is_floating_point()}
        moved = modalities | masks
        if not moved:
            return {}
        first = next(iter(moved.values()))
        c = self.config
        boxes = random_crop(len(first), scale=c.crop_scale, ratio=c.crop_ratio, flip=c.flip)
        boxes = upload(boxes, first.device)
        result: Batch = {}
        for height, width in dict.fromkeys((x.shape[-2], x.shape[-1]) for x in moved.values()):
            smooth, sharp = (
                {name: value for name, value in group.items() if value.shape[-2:] == (height, width)}
                for group in (modalities, masks)
            )
            result |= warp_modalities(smooth, sharp, maps_of(boxes, (height, width)))
        return result

    def _disturb(self, depth: Tensor) -> Tensor:
        c = self.config
        if not c.depth_scale and not c.depth_dropout:
            return depth
        batch_size, _, height, width = depth.shape
        factor = torch.ones(batch_size, 1, 1, 1)
        if c.depth_scale:
            factor = 1 + c.depth_scale * (2 * torch.rand(batch_size, 1, 1, 1) - 1)
        if c.depth_dropout:
            blocks = -(-height // c.depth_block), -(-width // c.depth_block)
            factor = factor * (torch.rand(batch_size, 1, *blocks) >= c.depth_dropout)
        factor = upload(factor, depth.device, depth.dtype)
        if c.depth_dropout:
            factor = functional.interpolate(factor, scale_factor=c.depth_block, mode="nearest")
        return depth * factor[..., :height, :width]


class ImageAugment(nn.Module):
    """Crop, flip and color of the `rgb` of a batch; the rest passes. Draws as `PairedAugment` does."""

    def __init__(self, config: ImageAugmentConfig | None = None) -> None:
        super().__init__()
        self.config = config or ImageAugmentConfig()

    @torch.no_grad()
    def forward(self, batch: Batch) -> Batch:
        """A batch with the same names, shapes and devices; the one given is left as it is."""
        return {**batch, "rgb": augment_images(batch["rgb"], self.config)}


def augment_images(images: Tensor, config: ImageAugmentConfig) -> Tensor:
    """(B, 3, H, W) in [0, 1] to the same shape: crop, flip, color, drawn for each image."""
    size = (images.shape[-2], images.shape[-1])
    if config.crop == "resized":
        boxes = random_crop(len(images), scale=config.crop_scale, ratio=config.crop_ratio, flip=config.flip)
        images = warp_bilinear(images, maps_of(upload(boxes, images.device), size))
    else:
        boxes = _shifts(len(images), size, padding=config.padding, flip=config.flip)
        images = warp_nearest(images, maps_of(upload(boxes, images.device), size), padding="zeros")
    return random_color(images, config)


def _shifts(batch_size: int, size: tuple[int, int], *, padding: int, flip: float) -> Tensor:
    """Boxes (B, 4) of the image's own size, moved by whole pixels."""
    pixels = torch.randint(-padding, padding + 1, (2, batch_size))
    mirror = torch.where(torch.rand(batch_size) < flip, -1.0, 1.0)
    return torch.stack(
        [2 * pixels[0] / size[1], 2 * pixels[1] / size[0], mirror, torch.ones(batch_size)], dim=1
    )
