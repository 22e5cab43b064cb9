"""A mixed and averaged transfer: `torchrun --nproc_per_node N mixed_ranks.py FOLDER` leaves for each rank the
shares that it drew and digests of what it holds."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from two_ranks import IMAGES, TRAIN, Plain, teachers

from crdkit.compression import CompressionConfig, CompressionPipeline
from crdkit.data import Mix, Mixed, load_splits
from crdkit.engine import digest, end_training, make_accelerator
from crdkit.transfer import TransferConfig

METHODS = ("kd", "crd", "crd-dense+dkd")


def main(folder: Path) -> None:
    accelerator = make_accelerator(cpu=True)
    splits = load_splits(IMAGES, accelerator.device)
    splits = replace(splits, train=splits.train.subset(range(15)), test=splits.test.subset(range(4)))
    config = CompressionConfig(
        cpu=True,
        data=IMAGES,
        method=METHODS,
        keep="all",
        transfer=TransferConfig(train=replace(TRAIN, epochs=2), mix="cutmix", ema=0.9),
    )
    shares: list[float] = []
    mix = Mix.forward

    def noting(self: Mix, batch: dict[str, Any]) -> Mixed:
        mixed = mix(self, batch)
        shares.append(mixed.share)
        return mixed

    Mix.forward = noting  # type: ignore[method-assign]
    pipeline = CompressionPipeline(
        config,
        splits,
        accelerator,
        folder,
        student=lambda: Plain(3, 4, 3),
        teachers=teachers(1, 3, "rgb"),
    )
    held = {done.method: digest(done.network.state_dict()) for done in pipeline.runs()}
    found = {"shares": shares, "held": held}
    (folder / f"rank-{accelerator.process_index}.json").write_text(json.dumps(found))
    end_training(accelerator)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
