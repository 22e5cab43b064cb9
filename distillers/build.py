"""The terms of a method for given networks."""

from collections.abc import Sequence
from dataclasses import replace

from ..common import UserError, bind_settings
from .ensemble import for_each_teacher, make_kd_each
from .method import Method, MethodPart
from .methods import JOINT
from .spec import FeatureSpec
from .term import Term


def build_terms(
    method: Method,
    specs: Sequence[FeatureSpec],
    *,
    reduction: str = "sum",
    share_student: bool = False,
    drop_teachers: float = 0.0,
) -> dict[str, Term]:
    """Return the terms of a method by name, with the weights that they have together.

    A term alone keeps its published weight and that of the cross-entropy; combined with others it has its
    weight in sums, and the cross-entropy counts whole. The projectors take the student's `Outputs` and a
    tuple of the teachers', and their `reads` is a tuple, one for each teacher.

    Args:
        method: as returned by `parse_method`.
        specs: one for each teacher.
        reduction: "sum" of the teachers' terms, as in Tian et al., 2020, or their "mean".
        share_student: one head and one memory of the student for all teachers of `crd`, not one for each.
        drop_teachers: probability that a teacher other than the one that it matches worst is left out of a
            sample's loss (Sariyildiz et al., 2024); out of the batch's, if the method compares samples or has
            a memory.

    Raises:
        UserError: networks that a method cannot compare, several teachers for a method that knows one, or
            teachers to drop from a method that weights them itself.
    """
    if not 0 <= drop_teachers <= 1:
        raise UserError(f"drop_teachers must be in [0, 1], got {drop_teachers}")
    if reduction not in ("sum", "mean"):
        raise UserError(f"reduction must be sum or mean, got {reduction!r}")
    drop, mean = (drop_teachers if len(specs) > 1 else 0.0), reduction == "mean"
    terms = {}
    for part in method.parts:
        term = _build(part, specs, mean=mean, share_student=share_student, drop=drop)
        if term.pretrains != (part.pretrain_epochs is not None):
            raise TypeError(
                f"the maker of {part.name!r} declares a pretraining in its signature "
                "(`epochs: PretrainEpochs`) if and only if its term has one"
            )
        weight, task_weight = term.weight, term.task_weight
        if len(method.parts) > 1:
            weight, task_weight = weight if term.weight_in_sum is None else term.weight_in_sum, 1.0
        terms[part.name] = replace(
            term, weight=part.factor * weight, weight_in_sum=None, task_weight=task_weight
        )
    return terms


def _build(
    part: MethodPart, specs: Sequence[FeatureSpec], *, mean: bool, share_student: bool, drop: float
) -> Term:
    """Return the term of one part for all teachers."""
    arguments = bind_settings(part.maker, part.settings)
    is_kd = part.name == "kd" and len(specs) > 1
    if drop and (is_kd or part.name == "kd-mean"):
        return make_kd_each(specs, drop=drop, **arguments)
    if drop and part.is_joint:
        raise UserError(
            f"{part.name} combines all teachers, and none can be dropped from it: drop_teachers is for "
            "kd-mean and for methods with a term for each teacher"
        )
    if is_kd or part.is_joint:
        maker = JOINT["kd-mean"] if is_kd else part.maker
        return maker(specs, **arguments)
    terms = [part.maker(spec, **arguments) for spec in specs]
    return for_each_teacher(part.name, terms, mean=mean, share=share_student, drop=drop)
