"""What people wear and are made of, and under which class the annotators of each data set have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A row a concept. `~`: the class has this beside what its name says, and is not spread over it on the way to other
# lists: ATR's Upper-clothes are tops, among them coats. Several classes: it depends on the pixel which.
#
# What a class holds is as its data set's publication says; where that is silent, this is our reading: LIP, CIHP and
# Pascal-Person-Part leave bags in the background; belts, jewellery and bare torsos go with what is around them;
# Pascal-Person-Part names parts of bodies whatever they wear.
_TABLE = """
concept    | lip | cihp | atr | pascal | ccp | people
background | Background | Background | Background | Background | background | background
hat        | Hat | Hat | Hat | Head | headwear | hat
hair       | Hair | Hair | Hair | Head | hair | hair
face       | Face | Face | Face | Head | skin | face
eyewear    | Sunglasses | Sunglasses | Sunglasses | ~Head | eyewear | ~face
top        | Upper-clothes | Upper-clothes | Upper-clothes | Torso | upper_clothes | top
coat       | Coat | Coat | ~Upper-clothes | Torso | outerwear | coat
dress      | Dress | Dress | Dress | Torso / ~Upper Legs | dress | dress
jumpsuit   | Jumpsuits | ~Upper-clothes / ~Pants | ~Dress | ~Torso / ~Upper Legs / ~Lower Legs | ~dress | ~trousers
skirt      | Skirt | Skirt | Skirt | Upper Legs | skirt | dress
pants      | Pants | Pants | Pants | Upper Legs / Lower Legs | pants | trousers
shorts     | ~Pants | ~Pants | ~Pants | Upper Legs | shorts | ~trousers
hosiery    | Socks | Socks | ~Left-leg / ~Right-leg | ~Lower Legs | legwear | ~legs
scarf      | Scarf | Scarf | Scarf | ~Torso | scarf | ~top
belt       | ~Upper-clothes / ~Pants | ~Upper-clothes / ~Pants | Belt | ~Torso | belt | ~top / ~trousers
bag        | ~Background | ~Background | Bag | ~Background | bag | ~background
accessory  | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm \
           | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm | ~Torso / ~Head / ~Lower Arms | accessories \
           | ~top / ~face / ~arms
glove      | Glove | Glove | ~Left-arm / ~Right-arm | ~Lower Arms | ~accessories | ~arms
left arm   | Left-arm | Left-arm | Left-arm | Upper Arms / Lower Arms | skin | arms
right arm  | Right-arm | Right-arm | Right-arm | Upper Arms / Lower Arms | skin | arms
left leg   | Left-leg | Left-leg | Left-leg | Upper Legs / Lower Legs | skin | legs
right leg  | Right-leg | Right-leg | Right-leg | Upper Legs / Lower Legs | skin | legs
left shoe  | Left-shoe | Left-shoe | Left-shoe | ~Lower Legs | shoes | shoes
right shoe | Right-shoe | Right-shoe | Right-shoe | ~Lower Legs | shoes | shoes
torso skin | ~Upper-clothes / ~Face | Torso-skin | ~Upper-clothes / ~Face | ~Torso | skin | ~top / ~face
"""


class Holder(NamedTuple):
    """A class that a concept is under; `own` unless the class has it beside what its name says."""

    name: str
    own: bool


def _parsed() -> dict[str, dict[str, tuple[Holder, ...]]]:
    rows = [[cell.strip() for cell in line.split("|")] for line in _TABLE.strip().splitlines()]
    (_, *lists), *concepts = rows
    return {
        concept: {
            name: tuple(Holder(part.strip().lstrip("~"), "~" not in part) for part in cell.split("/"))
            for name, cell in zip(lists, cells, strict=True)
        }
        for concept, *cells in concepts
    }


CONCEPTS: Mapping[str, Mapping[str, tuple[Holder, ...]]] = _parsed()
"""By concept and name of a class list: the classes that pixels of the concept are under."""


LISTS = tuple(CONCEPTS["background"])
"""The class lists that the table knows."""


def concepts_of(list_name: str, class_name: str) -> tuple[str, ...]:
    """Return what a class is by its name, in the table's order.

    Examples
    --------
    >>> concepts_of("atr", "Upper-clothes"), concepts_of("people", "arms")
    (('top',), ('left arm', 'right arm'))
    """
    return tuple(
        concept
        for concept, columns in CONCEPTS.items()
        if any(holder == Holder(class_name, True) for holder in columns[list_name])
    )
