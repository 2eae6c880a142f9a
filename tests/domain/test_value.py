"""Values are frozen, slotted dataclasses, however they are made."""

from __future__ import annotations

import copy
import pickle
from dataclasses import FrozenInstanceError, field, fields, replace

import pytest

from trading_dagster.domain.value import value


@value
class Named:
    """A value with a name."""

    name: str


@value
class Priced(Named):
    """A value with defaults beside what it inherits."""

    price: float = 1.0
    tags: list[str] = field(default_factory=list)


def test_value_is_of_its_class_and_has_what_it_was_given():
    made = Priced("a", tags=["x"])
    assert type(made) is Priced
    assert (made.name, made.price, made.tags) == ("a", 1.0, ["x"])
    assert repr(made) == "Priced(name='a', price=1.0, tags=['x'])"
    assert [f.name for f in fields(made)] == ["name", "price", "tags"]


@pytest.mark.parametrize("name", ["name", "price", "another"])
def test_value_cannot_be_changed(name):
    made = Priced("a")
    with pytest.raises((FrozenInstanceError, TypeError)):  # dataclasses says TypeError for a name it does not have
        setattr(made, name, 2)
    with pytest.raises(FrozenInstanceError):
        del made.name
    assert not hasattr(made, "__dict__")


def test_default_of_a_factory_is_not_shared():
    Priced("a").tags.append("x")
    assert Priced("b").tags == []


def test_equal_values_are_equal_and_copies_are_values():
    made = Named("a")
    assert (made, hash(made)) == (Named("a"), hash(Named("a")))
    assert made != Named("b")
    priced = Priced("a", 2.0, ["x"])
    for other in (copy.copy(priced), copy.deepcopy(priced), pickle.loads(pickle.dumps(priced)), replace(priced)):
        assert other == priced
        assert type(other) is Priced
    assert replace(priced, price=3.0).price == 3.0


def test_wrong_arguments_are_refused_as_of_a_dataclass():
    for arguments in ((), ("a", 1.0, [], "more")):
        with pytest.raises(TypeError, match=r"__init__\(\)"):
            Priced(*arguments)
