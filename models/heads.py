"""Heads: linear classifier, segmentation head, feature pyramid, and the deployed student of SimKD."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import UserError
from .cifar.parts import conv_bn_relu
from .measure import measure
from .outputs import Outputs


class Classifier(nn.Module):
    """An encoder with a linear classifier on its embedding.

    Args:
        encoder: returns `Outputs`.
        classifier: embedding (B, D) to logits (B, C).
    """

    def __init__(self, encoder: nn.Module, classifier: nn.Linear) -> None:
        super().__init__()
        self.encoder = encoder
        self.classifier = classifier

    def forward(self, x: Tensor) -> Outputs:
        """The encoder's `Outputs` with the classifier's logits."""
        outputs: Outputs = self.encoder(x)
        return outputs._replace(logits=self.classifier(outputs.embedding))


def attach_classifier(
    encoder: nn.Module, num_classes: int, input_size: tuple[int, int, int], *, seed: int
) -> Classifier:
    """Return an encoder with a randomly initialized linear classifier, on the CPU.

    Args:
        encoder: returns `Outputs`; it is used as it is, not copied.
        num_classes: number of logits.
        input_size: (C, H, W) of an input, to measure the embedding with.
        seed: alone decides the classifier's weights; global random generators are not advanced.
    """
    width = measure(encoder, input_size).embedding
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Classifier(encoder.cpu(), nn.Linear(width, num_classes))


class SegmentationHead(nn.Module):
    """Class scores at each position of a map: one 3x3 layer and a 1x1 classifier.

    Args:
        in_channels: channels of the map.
        num_classes: classes, of which labels are 0 … num_classes - 1.
        hidden: width of the 3x3 layer; None leaves the linear 1x1 classifier alone.

    Shapes:
        (B, in_channels, H, W) to logits (B, num_classes, H, W).
    """

    def __init__(self, in_channels: int, num_classes: int, *, hidden: int | None = 128) -> None:
        super().__init__()
        if num_classes < 2:
            raise UserError(f"num_classes must be at least 2, got {num_classes}")
        if hidden is not None and hidden < 1:
            raise UserError(f"hidden must be positive or None, got {hidden}")
        self.hidden = nn.Identity() if hidden is None else conv_bn_relu(in_channels, hidden, 3)
        self.classifier = nn.Conv2d(in_channels if hidden is None else hidden, num_classes, 1)

    def forward(self, feature_map: Tensor) -> Tensor:
        """Logits at the map's resolution."""
        return self.classifier(self.hidden(feature_map))


class Segmenter(nn.Module):
    """An encoder with a head on its last map or maps; logits at the resolution of the input.

    Args:
        encoder: returns `Outputs`; its weights train with the head's.
        num_classes: classes to tell apart.
        input_size: (C, H, W) of an input, to measure the encoder's maps with.
        hidden: width of the head's 3x3 layer, None for a linear head.
        levels: how many of the last maps the head reads, brought to the size of the largest of them.

    Shapes:
        (B, C, H, W) to logits (B, num_classes, H, W), upsampled bilinearly; maps and embedding are the
        encoder's. Inputs of other H and W than `input_size` are fine.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        *,
        input_size: tuple[int, int, int],
        hidden: int | None = 128,
        levels: int = 1,
    ) -> None:
        super().__init__()
        maps = _maps_of(encoder, input_size)
        if not 1 <= levels <= len(maps):
            raise UserError(f"levels must be 1 … {len(maps)}, the encoder's maps, got {levels}")
        self.encoder = encoder
        self.levels = levels
        self.head = SegmentationHead(sum(c for c, _, _ in maps[-levels:]), num_classes, hidden=hidden)

    def forward(self, x: Tensor) -> Outputs:
        """Logits at the input's size, and the encoder's maps and embedding."""
        outputs = self.encoder(x)
        maps = outputs.maps[-self.levels :]
        size = maps[0].shape[2:]
        feature_map = torch.cat([_resize(m, size) for m in maps], dim=1)
        return Outputs(_resize(self.head(feature_map), x.shape[2:]), outputs.maps, outputs.embedding)


class PyramidSegmenter(nn.Module):
    """A light feature pyramid over an encoder's maps: the teacher's decoder.

    Each map of the wanted resolution and below goes through a 1x1 convolution to `width` channels; from the
    last to the first they are upsampled and added (Lin et al., Feature Pyramid Networks, 2017), then fused by
    one 3x3 layer. The fused map is the place to transfer from: fine enough to segment, and it has seen every
    stage.

    Args:
        encoder: returns `Outputs`, such as `create("resnet18", num_classes=None)`; its weights train with the
            decoder's.
        num_classes: classes to tell apart.
        input_size: (C, H, W) of an input, to measure the encoder's maps with.
        width: channels of the pyramid and of the fused map.
        stride: pixels of the input, in height and width, for one position of the fused map. The map used is
            the finest one that is not finer than this.

    Shapes:
        (B, C, H, W) to logits (B, num_classes, H/stride, W/stride); maps are the encoder's and, last, the
        fused map (B, width, H/stride, W/stride); the embedding is the encoder's.
    """

    def __init__(
        self,
        encoder: nn.Module,
        num_classes: int,
        *,
        input_size: tuple[int, int, int],
        width: int = 128,
        stride: int = 8,
    ) -> None:
        super().__init__()
        if num_classes < 2:
            raise UserError(f"num_classes must be at least 2, got {num_classes}")
        if width < 1:
            raise UserError(f"width must be positive, got {width}")
        if stride < 1:
            raise UserError(f"stride must be positive, got {stride}")
        maps = _maps_of(encoder, input_size)
        _, height, _ = input_size
        self.first = next((i for i, (_, h, _) in enumerate(maps) if h <= -(-height // stride)), -1)
        if self.first < 0:
            finest = [height // h for _, h, _ in maps]
            raise UserError(f"no map of the encoder has stride {stride} or more; its strides are {finest}")
        self.encoder = encoder
        self.lateral = nn.ModuleList(nn.Conv2d(c, width, 1) for c, _, _ in maps[self.first :])
        self.fuse = conv_bn_relu(width, width, 3)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, x: Tensor) -> Outputs:
        """Logits at the fused map's resolution, the encoder's maps with the fused one last, its embedding."""
        outputs = self.encoder(x)
        fused = self.fuse(self._top_down(outputs.maps[self.first :]))
        return Outputs(self.classifier(fused), (*outputs.maps, fused), outputs.embedding)

    def _top_down(self, maps: Sequence[Tensor]) -> Tensor:
        laterals = [conv(m) for conv, m in zip(self.lateral, maps, strict=True)]
        top = laterals[-1]
        for finer in reversed(laterals[:-1]):
            top = finer + _resize(top, finer.shape[2:])
        return top


class ChannelProjection(nn.Module):
    """A map in another network's channels: 1x1, 3x3 and 1x1 convolutions, each with batch norm and ReLU.

    The projector of SimKD (Chen et al., Knowledge Distillation with the Reused Teacher Classifier, 2022).

    Args:
        in_channels: channels of the map.
        out_channels: channels of the projected map.
        hidden: channels between the convolutions.
        size: (H, W) to which maps are average-pooled before, along each axis that is larger.
    """

    def __init__(self, in_channels: int, out_channels: int, *, hidden: int, size: tuple[int, int]) -> None:
        super().__init__()
        self.size = size
        self.transfer = nn.Sequential(
            *_convolution(in_channels, hidden, 1),
            *_convolution(hidden, hidden, 3),
            *_convolution(hidden, out_channels, 1),
        )

    @property
    def channels(self) -> tuple[int, int, int]:
        """Channels of the input, between the convolutions, and of the output."""
        first, last = self.transfer[0], self.transfer[6]
        assert isinstance(first, nn.Conv2d) and isinstance(last, nn.Conv2d)
        return first.in_channels, first.out_channels, last.out_channels

    def project(self, feature_map: Tensor) -> Tensor:
        """(B, in_channels, H, W) to (B, out_channels, *size)."""
        if tuple(feature_map.shape[2:]) != self.size:
            feature_map = F.adaptive_avg_pool2d(feature_map, self.size)
        projected: Tensor = self.transfer(feature_map)
        return projected


class ReusedClassifier(nn.Module):
    """SimKD's deployed student: a student, the projection of its last map, and its teacher's classifier.

    The projected map is appended to the student's maps. Its average over positions is the embedding, from
    which the classifier computes the logits. The student and the projection are used as they are; the
    classifier is a frozen copy on their device.

    Args:
        student: returns `Outputs`.
        projector: as trained.
        classifier: the teacher's, embedding to logits.
    """

    def __init__(self, student: nn.Module, projector: ChannelProjection, classifier: nn.Linear) -> None:
        super().__init__()
        self.student = student
        self.projector = projector
        self.classifier = copy.deepcopy(classifier).requires_grad_(False)
        self.classifier.to(projector.transfer[0].weight.device)  # type: ignore[arg-type]

    def forward(self, x: Tensor) -> Outputs:
        """The student's maps with the projected one last, its average, and the classifier's logits."""
        outputs: Outputs = self.student(x)
        projected = self.projector.project(outputs.maps[-1])
        embedding = projected.mean(dim=(2, 3))
        return Outputs(self.classifier(embedding), (*outputs.maps, projected), embedding)


def _convolution(in_channels: int, out_channels: int, kernel_size: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(),
    )


def _maps_of(encoder: nn.Module, input_size: tuple[int, int, int]) -> tuple[tuple[int, int, int], ...]:
    maps = measure(encoder, input_size).maps
    if not maps:
        raise UserError(f"{type(encoder).__name__} gives no feature maps to segment from")
    return maps


def _resize(feature_map: Tensor, size: Sequence[int]) -> Tensor:
    if tuple(feature_map.shape[2:]) == tuple(size):
        return feature_map
    return F.interpolate(feature_map, size=tuple(size), mode="bilinear", align_corners=False)
