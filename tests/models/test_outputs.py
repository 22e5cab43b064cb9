"""The parts of a network's outputs by name."""

import pytest
import torch

from crdkit.models import Outputs, from_parts, take_parts

OUTPUTS = Outputs(torch.ones(2, 3), (torch.zeros(2, 1, 4, 4), torch.ones(2, 2, 2, 2)), torch.ones(2, 5))


def test_parts_come_back_under_their_numbers_and_nothing_else() -> None:
    parts = take_parts(OUTPUTS, {"maps.1", "embedding"})
    back = from_parts(parts)
    assert parts.keys() == {"maps.1", "embedding"} and back.logits is None and back.preactivations == ()
    assert back.maps[0] is None and back.maps[1] is OUTPUTS.maps[1] and back.embedding is OUTPUTS.embedding
    assert from_parts({}) == Outputs(None, (), None)


@pytest.mark.parametrize("name", ["maps.2", "preactivations.0", "gone"])
def test_a_part_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        take_parts(OUTPUTS, [name])
    with pytest.raises(ValueError, match="logits"):
        take_parts(OUTPUTS._replace(logits=None), ["logits"])
