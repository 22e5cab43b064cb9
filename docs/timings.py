"""Tables of the benchmarks: what a step costs, in time and in memory."""

import statistics
from collections.abc import Mapping
from typing import Any

from markdown_grid import grid
from run_times import defaults, first_step, kills, startup


def contrast(results: Mapping[str, Any]) -> str:
    """Time and memory of a contrastive step: the headline setting, then the growth."""
    first, *growth = results["settings"]
    methods = [name for name in first["methods"] if name != "published"]
    headline = grid(
        ["negatives", "ms a step", "times faster", "peak extra MB", "share of the published"],
        [
            (
                name,
                f"{row['seconds'] * 1e3:.1f}",
                f"{row['speedup']:.1f}",
                f"{row['peak_bytes'] / 1e6:.1f}",
                f"{row['peak_share']:.3f}",
            )
            for name, row in first["methods"].items()
        ],
    )
    rows = [
        (
            f"B={s['batch_size']}, M={s['num_samples']:,}, K={s['num_negatives']:,}",
            f"{s['methods']['published']['seconds'] * 1e3:.1f}",
            *(f"{s['methods'][name]['speedup']:.1f}" for name in methods),
            f"{s['bytes_a_second'] / 1e9:.0f}",
            f"{s['share_of_bound']:.0%}",
        )
        for s in (first, *growth)
    ]
    title = "B={batch_size}, M={num_samples:,}, K={num_negatives:,}, d=128:".format(**first)
    return (
        f"{title}\n\n{headline}\nGrowth, times faster than the published formulation, and how near `uniform` "
        "is to reading the drawn rows once at the speed at which a large array was read meanwhile:\n\n"
        f"{grid(['setting', 'published, ms', *methods, 'GB/s', 'of the bound'], rows)}"
    )


def loading(results: Mapping[str, Any]) -> str:
    """Time of a sample from the official file and from the converted one."""
    return grid(
        ["size", "official .mat, ms", "converted, ms", "times faster"],
        [
            (f"{case['size'][0]} × {case['size'][1]}", case["official_ms"], case["packed_ms"], case["ratio"])
            for case in results["cases"]
        ],
    )


def throughput(results: Mapping[str, Any]) -> str:
    """Throughput of a training step with each method."""
    table = grid(
        ["method", "ms a step", "images a second", "share of the distiller"],
        [
            (
                name,
                f"{row['seconds'] * 1e3:.1f}",
                f"{row['images_per_second']:.0f}",
                f"{row['distiller_share']:.1%}",
            )
            for name, row in results["methods"].items()
        ],
    )
    title = "{teacher} to {student}, B={batch_size}, M={num_samples:,}:".format(**results)
    return f"{title}\n\n{table}"


def ensemble(results: Mapping[str, Any]) -> str:
    """Members in one call against one after the other, and kept answers against live teachers."""
    calls = grid(
        ["members", "loop, ms", "batched, ms", "times faster", "largest difference of a logit"],
        [
            (
                row["teachers"],
                f"{row['loop'] * 1e3:.1f}",
                f"{row['batched'] * 1e3:.1f}",
                f"{row['speedup']:.2f}",
                f"{row['largest_difference']:.1e}",
            )
            for row in results["calls"]
        ],
    )
    steps = grid(
        ["step", "teachers", "live, ms", "kept, ms", "times faster"],
        [
            (
                row["step"],
                row["teachers"],
                f"{row['live'] * 1e3:.1f}",
                f"{row.get('cached', row.get('kept')) * 1e3:.1f}",
                f"{row['speedup']:.1f}",
            )
            for row in results["steps"]
        ],
    )
    title = "Teachers {teacher}, student {student}, B={batch_size}, M={num_samples:,}:".format(**results)
    return f"{title}\n\n{calls}\nA step of the student:\n\n{steps}"


def peers(results: Mapping[str, Any]) -> str:
    """Whole steps beside the other repositories'."""
    steps = list(results["steps"].values())
    methods = list(dict.fromkeys(row["method"] for row in steps))
    seconds = {(row["who"], row["method"]): row["seconds"] for row in steps}
    everyone = list(dict.fromkeys(row["who"] for row in steps))
    beside = [who for who in ("crdkit before", "RepDistiller", "mdistiller") if who in everyone]
    table = grid(
        ["ms a step", *methods, *(f"{m}, times {who}" for who in beside for m in methods)],
        [
            (
                who,
                *(f"{seconds[who, m] * 1e3:.0f}" for m in methods),
                *(f"{seconds[peer, m] / seconds[who, m]:.2f}" for peer in beside for m in methods),
            )
            for who in everyone
        ],
    )
    title = "{teacher} to {student}, B={batch_size}, M={num_samples:,}, K={num_negatives:,}:".format(
        **results
    )
    before = results.get("commits", {}).get("before")
    return f"{title}\n\n{table}" + (f"\nBefore is commit {before[:10]}.\n" if before else "")


def memory(results: Mapping[str, Any]) -> str:
    """Peak memory of a run over many unlabeled images."""
    return grid(
        ["images", "file, GB", "framework alone, GB", "run, GB", "more, GB"],
        [
            (
                f"{results['images']:,}",
                *(
                    f"{results[name] / 1e9:.2f}"
                    for name in ("file_bytes", "alone_bytes", "run_bytes", "more_bytes")
                ),
            )
        ],
    )


def banks(results: Mapping[str, Any]) -> str:
    """Where the rows of a large memory are: bytes of a row and of a rank, a step, the peak of the process."""

    def seconds(num_samples: int, bank: str) -> float:
        found = (c for c in results["cases"] if (c["num_samples"], c["bank"]) == (num_samples, bank))
        return float(next(case["seconds"] for case in found if case["dtype"] == "bfloat16"))

    small, large = (results["cases"][i]["num_samples"] for i in (0, -1))
    exchange = seconds(small, "sharded") - seconds(small, "memory")

    def row(case: Mapping[str, Any]) -> tuple[str, ...]:
        if "seconds" in case:
            measured = (
                f"{1e3 * case['seconds']:.0f}",
                *(f"{case[name] / 1e9:.2f}" for name in ("peak_bytes", "private_bytes")),
                f"{case['make_seconds']:.0f}",
            )
        else:  # as many rows are read as of the largest bank that was measured
            taken = seconds(large, "mapped") + exchange * (case["bank"] == "sharded")
            measured = f"≈ {1e3 * taken:.0f}", "", "", ""
        return (
            f"{case['num_samples']:,}",
            case["bank"],
            case["dtype"],
            str(case["ranks"]),
            str(case["row_bytes"]),
            f"{case['rank_bytes'] / 1e9:.2f}",
            *measured,
        )

    table = grid(
        [
            "rows",
            "bank",
            "type",
            "ranks",
            "bytes a row, both sides",
            "GB a rank",
            "ms a step",
            "peak of a process, GB",
            "its own, GB",
            "made in s",
        ],
        [row(case) for case in (*results["cases"], *results["computed"])],
    )
    sharding = results["sharding"]
    spread = grid(
        ["draws from", "deviation of one draw", "expected distance of the mean", "distance of the mean"],
        [
            (
                name,
                f"{one['deviation']:.1%}",
                f"{one['deviation'] / sharding['draws'] ** 0.5:.1%}",
                f"{one['distance_of_mean']:.1%}",
            )
            for name, one in (("all rows", sharding["shared"]), ("the rank's rows", sharding["sharded"]))
        ],
    )
    title = "`CRDLoss` trains: B={batch_size}, K={num_negatives:,}, d={dim}, `shared`, one thread a rank:"
    told = (
        "The NCE gradient from {draws:,} draws of K={negatives} of {rows:,} rows, of all and of those of "
        "{ranks} ranks in turn, beside the exact one of all rows, as a share of its length:"
    )
    return f"{title.format(**results)}\n\n{table}\n{told.format(**sharding)}\n\n{spread}"


def pairs(results: Mapping[str, Any]) -> str:
    """Where pairs are: the time of a step, and the memory of a run over many of them."""
    steps = results["steps"]
    table = grid(
        ["pairs are in", "ms a step", "times memory"],
        [
            (name, f"{1e3 * steps[name]:.1f}", f"{steps[name] / steps['memory']:.2f}")
            for name in ("memory", "cache", "files")
        ],
    )
    gigabytes = {name: results[f"{name}_bytes"] / 1e9 for name in ("alone", "run", "more")}
    told = (
        "One epoch over {pairs:,} pairs: {run:.2f} GB at most; the framework alone takes {alone:.2f}: "
        "{more:.2f} GB more, in {minutes:.0f} minutes."
    )
    minutes = results["seconds"] / 60
    return f"{table}\n{told.format(pairs=results['pairs'], minutes=minutes, **gigabytes)}\n"


def small_sets(results: Mapping[str, Any]) -> str:
    """Accuracy of the task beside the loss, and the loss's largest gradient, for few samples."""
    table = grid(
        ["loss", "M", "batch norms", "test accuracy", "largest gradient by the features"],
        [
            (
                row["loss"],
                f"{row['num_samples']:,}",
                "yes" if row["batch_norms"] else "no",
                f"{100 * statistics.mean(row['accuracies']):.1f}",
                f"{max(row['largest_gradients']):.1f}",
            )
            for row in results["rows"]
        ],
    )
    title = (
        "Digits, B={batch_size}, {steps} steps of SGD {lr}, weight {weight}, mean of {seeds} seeds, percent:"
    )
    return f"{title.format(**results)}\n\n{table}"


def around(results: Mapping[str, Any]) -> str:
    """What a run spends beside its steps."""
    parts = ("checkpoints", "evaluations", "logging")
    return grid(
        ["command", "trainings, s", *parts],
        [
            (run["command"], f"{run['seconds']:.0f}", *(f"{run[part]:.2%}" for part in parts))
            for run in results["runs"]
        ],
    )


BENCHMARKS = {
    "around": around,
    "banks": banks,
    "contrast": contrast,
    "peers": peers,
    "ensemble": ensemble,
    "first_step": first_step,
    "defaults": defaults,
    "kills": kills,
    "loading": loading,
    "memory": memory,
    "pairs": pairs,
    "small_sets": small_sets,
    "startup": startup,
    "throughput": throughput,
}
