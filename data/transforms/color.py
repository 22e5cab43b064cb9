"""Random color of RGB images, as one linear map a pixel."""

import torch
from kornia.color import rgb_to_yuv, yuv_to_rgb
from torch import Tensor

from ..config import RandomImageConfig
from ..reading import upload


def random_color(rgb: Tensor, config: RandomImageConfig) -> Tensor:
    """Jitter (B, 3, H, W) in [0, 1] with factors drawn for each image; clamped to [0, 1].

    Every step is linear in YUV, so the four fold into one 3×3 matrix and an offset for each image: a tenth
    of the time of the steps through HSV on a CPU. Drawn on the CPU from torch's global generator. Where both
    probabilities are 0 nothing is drawn and the pixels keep their bits.
    """
    if config.jitter == 0 and config.grayscale == 0:
        return rgb
    batch_size, _, height, width = rgb.shape
    draws = torch.rand(6, batch_size)
    on = draws[4] < config.jitter
    spread = torch.tensor([config.brightness, config.contrast, config.saturation])[:, None]
    bright, contrasted, saturated = torch.where(on, 1 + spread * (2 * draws[:3] - 1), 1.0)
    turn = torch.where(on, (2 * draws[3] - 1) * config.hue * 2 * torch.pi, 0.0)
    saturated = torch.where(draws[5] < config.grayscale, 0.0, saturated)

    luma, chroma = bright * contrasted, bright * contrasted * saturated
    in_yuv = torch.zeros(batch_size, 3, 3)
    in_yuv[:, 0, 0] = luma
    in_yuv[:, 1, 1] = in_yuv[:, 2, 2] = chroma * turn.cos()
    in_yuv[:, 1, 2] = -chroma * turn.sin()
    in_yuv[:, 2, 1] = chroma * turn.sin()
    to_yuv, to_rgb = _matrix(rgb_to_yuv), _matrix(yuv_to_rgb)
    parts = [
        (to_rgb @ in_yuv @ to_yuv).flatten(1),
        (bright * (1 - contrasted))[:, None],
        to_yuv[:1].expand(batch_size, 3),
    ]
    sent = upload(torch.cat(parts, dim=1), rgb.device, rgb.dtype)  # in one copy
    matrix, moved, luma_of = sent[:, :9].view(batch_size, 3, 3), sent[:, 9], sent[0, 10:]

    offset = moved * torch.einsum("bc,c->b", rgb.mean((2, 3)), luma_of)
    mixed = torch.baddbmm(offset[:, None, None], matrix, rgb.reshape(batch_size, 3, -1))
    return mixed.clamp_(0, 1).view(batch_size, 3, height, width)


def _matrix(convert: object) -> Tensor:
    """The 3×3 matrix of one of kornia's linear color conversions: what it makes of the three axes."""
    assert callable(convert)
    result: Tensor = convert(torch.eye(3).view(3, 3, 1, 1)).view(3, 3)
    return result.T
