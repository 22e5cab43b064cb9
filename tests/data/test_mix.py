"""MixUp and CutMix of whole batches: against loops over samples, pixels and modalities."""

from typing import Any

import pytest
import torch
from torch import Tensor

from crdkit.data import IGNORE, DataError, Mix


def batch(count: int = 6, *, dense: bool = False) -> dict[str, Tensor]:
    """Every image is one number in all modalities, and its label the same: whose pixel is whose is seen."""
    own = torch.arange(count)
    made = {
        "index": own + 10,
        "rgb": own.float().reshape(-1, 1, 1, 1).repeat(1, 3, 16, 12),
        "depth": own.float().reshape(-1, 1, 1, 1).repeat(1, 1, 32, 24),
        "label": own.clone(),
    }
    return {**made, "label": own.reshape(-1, 1, 1).repeat(1, 16, 12)} if dense else made


def colors(count: int = 6) -> dict[str, Tensor]:
    return {name: value for name, value in batch(count).items() if name != "depth"}


def partners(mixed: Any) -> list[int]:
    return mixed.other_label.tolist()


@pytest.mark.parametrize("alpha", [0.2, 1.0, 8.0])
def test_mixup_is_the_sum_of_two_images_and_of_their_labels(alpha: float) -> None:
    given = {**colors(), "rgb": torch.rand(6, 3, 5, 4)}
    kept = {name: value.clone() for name, value in given.items()}
    mixed = Mix("mixup", alpha)(given)
    for b, other in enumerate(partners(mixed)):
        expected = mixed.share * given["rgb"][b] + (1 - mixed.share) * given["rgb"][other]
        torch.testing.assert_close(mixed.batch["rgb"][b], expected)
        larger = b if mixed.share >= 0.5 else other
        assert mixed.batch["index"][b] == given["index"][larger]
    assert torch.equal(mixed.batch["label"], given["label"])
    assert all(torch.equal(given[name], kept[name]) for name in kept), "the batch given is left as it is"


def test_cutmix_pastes_one_box_into_all_modalities_and_counts_its_pixels() -> None:
    for _ in range(20):
        mixed = Mix("cutmix")(batch())
        for b, other in enumerate(partners(mixed)):
            rgb, depth = mixed.batch["rgb"][b], mixed.batch["depth"][b, 0]
            kept = sum(float(rgb[0, y, x]) == b for y in range(16) for x in range(12))
            assert mixed.share == pytest.approx(kept / (16 * 12))
            for y in range(32):
                for x in range(24):
                    assert depth[y, x] == rgb[0, y // 2, x // 2] == rgb[2, y // 2, x // 2]
                    assert depth[y, x] in (b, other)


def test_cutmix_pastes_label_maps_as_their_images() -> None:
    given = batch(dense=True)
    given["label"][:, :2] = IGNORE
    mixed = Mix("cutmix")(given)
    assert mixed.other_label is None
    label = mixed.batch["label"]
    assert (label[:, :2] == IGNORE).all() and label.dtype == torch.int64
    assert torch.equal(label[:, 2:].float(), mixed.batch["rgb"][:, 0, 2:])


def test_mixup_of_label_maps_gives_both() -> None:
    given = {name: value for name, value in batch(dense=True).items() if name != "depth"}
    mixed = Mix("mixup")(given)
    assert torch.equal(mixed.batch["label"], given["label"])
    for b, other in enumerate(mixed.other_label[:, 0, 0].tolist()):
        assert torch.equal(mixed.other_label[b], given["label"][other])


def test_partners_are_one_cycle_through_the_batch() -> None:
    for count in (1, 2, 3, 8):
        for _ in range(10):
            next_of = partners(Mix("mixup")(colors(count)))
            place, way = 0, []
            for _ in range(count):
                way.append(place := next_of[place])
            assert sorted(way) == list(range(count)) and place == 0


def test_an_image_alone_in_its_batch_stays_as_it_is() -> None:
    for kind in ("mixup", "cutmix"):
        given = {**colors(1), "rgb": torch.rand(1, 3, 8, 8)}
        mixed = Mix(kind)(given)
        torch.testing.assert_close(mixed.batch["rgb"], given["rgb"])
        assert mixed.batch["index"].tolist() == [10] and mixed.other_label.tolist() == [0]


@pytest.mark.parametrize("kind", ["mixup", "cutmix"])
def test_lambda_is_of_the_beta_distribution_and_the_draws_of_the_cpu_generator(kind: str) -> None:
    """Of α = 1 a uniform one, for which CutMix, whose boxes are cut off at the ends, keeps more than half."""
    mix = Mix(kind)
    shares = torch.tensor([mix(colors(2)).share for _ in range(2000)])
    assert (shares >= 0).all() and (shares <= 1).all()
    if kind == "mixup":
        assert abs(float(shares.mean()) - 0.5) < 0.03 and abs(float(shares.std()) - 12**-0.5) < 0.02
    else:
        assert 0.5 < float(shares.mean()) < 0.8
    state = torch.get_rng_state()
    first = mix(batch() if kind == "cutmix" else colors())
    torch.set_rng_state(state)
    again = mix(batch() if kind == "cutmix" else colors())
    assert first.share == again.share
    assert all(torch.equal(value, again.batch[name]) for name, value in first.batch.items())


def test_small_alphas_and_low_precision_stay_finite() -> None:
    for alpha in (1e-3, 1e-2, 0.1):
        for kind in ("mixup", "cutmix"):
            given = {**colors(4), "rgb": torch.rand(4, 3, 8, 8, dtype=torch.bfloat16)}
            mixed = Mix(kind, alpha)(given)
            assert 0 <= mixed.share <= 1 and mixed.batch["rgb"].isfinite().all()
            assert mixed.batch["rgb"].dtype == torch.bfloat16


def test_holes_are_pasted_and_not_averaged() -> None:
    with pytest.raises(DataError, match=r"depth.*cutmix"):
        Mix("mixup")(batch())
    given = {**colors(), "thermal": torch.rand(6, 1, 8, 8)}
    given["thermal"][2, 0, 3, 3] = torch.nan
    mixed = Mix("mixup")(given)
    holes = mixed.batch["thermal"].isnan().nonzero().tolist()
    assert holes == sorted([b, 0, 3, 3] for b, other in enumerate(partners(mixed)) if 2 in (b, other))


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mixup, cutmix.*'blend'"):
        Mix("blend")
    for alpha in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="alpha must be positive"):
            Mix("mixup", alpha)
