"""What a deployed network says of a batch."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..common import UserError
from ..models import evaluating


@dataclass(frozen=True)
class Prediction:
    """Of a batch; on the CPU, float32."""

    logits: Tensor | None
    """(B, C), or (B, C, H, W) of a segmenter; None of an encoder."""
    embedding: Tensor
    """(B, D)."""

    @property
    def probabilities(self) -> Tensor:
        """Of the classes, of the shape of the logits. `ValueError` for an encoder, which has none."""
        if self.logits is None:
            raise UserError("the network is an encoder: it gives embeddings, and no classes")
        return self.logits.softmax(1)

    def class_map(self, row: int, size: tuple[int, int] | None = None) -> Tensor:
        """The class of each pixel of an image, (H, W) int64, at `size` if it is given."""
        if self.logits is None or self.logits.ndim != 4:
            raise UserError("the network does not segment: it gives no class for each pixel")
        logits = self.logits[row : row + 1]
        if size is not None and tuple(logits.shape[2:]) != size:
            logits = F.interpolate(logits, size=size, mode="bilinear", align_corners=False)
        return logits.argmax(1)[0]


@torch.no_grad()
def predict(model: nn.Module, images: Tensor) -> Prediction:
    """Run a network as it was judged: in eval mode, without gradients, on the device that it is on.

    Args:
        model: returns `Outputs`.
        images: (B, C, H, W), the modality in its units, as `Preprocess` gives it.
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with evaluating(model):
        outputs = model(images.to(device))
    logits = None if outputs.logits is None else outputs.logits.float().cpu()
    return Prediction(logits, outputs.embedding.float().cpu())
