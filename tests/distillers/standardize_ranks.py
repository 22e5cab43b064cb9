"""One rank of test_standardize: `python standardize_ranks.py RANK WORLD_SIZE STORE INPUT OUTPUT`."""

import sys

import torch
import torch.distributed as dist

from crdkit.distillers import Standardize


def main() -> None:
    rank, world_size, store, source, target = int(sys.argv[1]), int(sys.argv[2]), *sys.argv[3:6]
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world_size)
    batches = torch.load(source, weights_only=True)
    results = {}
    for rotate in (False, True):
        torch.manual_seed(rank)
        module = Standardize(6, 30, rotate=rotate)
        outputs = [module(batch.tensor_split(world_size)[rank]) for batch in batches]
        results[str(rotate)] = {"outputs": outputs, "state": module.state_dict()}
    torch.save(results, target)
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
