"""A map of a representation in the plane, to look at."""

import torch

from ..common import UserError
from ..engine import derive_seed
from .features import Features


def tsne(features: Features, *, limit: int = 2000, perplexity: float = 30.0, seed: int = 0) -> Features:
    """t-SNE (van der Maaten & Hinton, 2008) by scikit-learn, from the principal components on.

    Args:
        features: (N, D); of more than `limit` samples a drawn part.
        limit: samples in the picture.
        perplexity: effective number of neighbors; a third of the samples where there are fewer than that.
        seed: of the part and of the optimization.

    Returns:
        Points (n, 2) and their classes.

    Raises:
        ValueError: for fewer than 4 samples, or an argument that is not positive.
    """
    from sklearn.manifold import TSNE

    if limit < 4 or len(features.label) < 4:
        raise UserError(f"t-SNE needs at least 4 samples, got {min(limit, len(features.label))}")
    if perplexity <= 0:
        raise ValueError(f"perplexity must be positive, got {perplexity}")
    generator = torch.Generator().manual_seed(derive_seed("t-SNE", seed))
    rows = torch.randperm(len(features.label), generator=generator)[:limit].sort().values
    method = TSNE(
        perplexity=min(perplexity, (len(rows) - 1) / 3), init="pca", random_state=derive_seed(seed) % 2**32
    )
    points = method.fit_transform(features.vectors[rows].numpy())
    return Features(torch.from_numpy(points), features.label[rows])
