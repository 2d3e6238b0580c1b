"""What people wear and are made of, and under which class the annotators of each data set have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

# A row a concept. `~`: the class has this beside what its name says, and is not spread over it on the way to other
# lists: ATR's Upper-clothes are tops, among them coats. Several classes: it depends on the pixel which.
#
# What a class holds is as its data set's publication says; where that is silent, this is our reading: LIP, CIHP and
# Pascal-Person-Part leave bags in the background; belts, jewellery and bare torsos go with what is around them;
# Pascal-Person-Part names parts of bodies whatever they wear. Where hands have no class arms hold them, and what is
# seen of an arm in long sleeves is all hand; bare feet are few beside legs. MHP's jackets are other lists' coats.
_TABLE = """
concept    | lip | cihp | atr | pascal | ccp | people | mhp | mhp-v1
background | Background | Background | Background | Background | background | background | Background | Background
hat        | Hat | Hat | Hat | Head | headwear | hat | Cap/hat | Hat
headgear   | ~Hat | ~Hat | ~Hat | ~Head | headwear | ~hat | Helmet / Headwear | ~Hat
hair       | Hair | Hair | Hair | Head | hair | hair | Hair | Hair
face       | Face | Face | Face | Head | skin | face | Face | Face
eyewear    | Sunglasses | Sunglasses | Sunglasses | ~Head | eyewear | ~face | Sunglasses / Eyewear | Sunglasses
top        | Upper-clothes | Upper-clothes | Upper-clothes | Torso | upper_clothes | top \
           | Tee-shirt / Polo-shirt / Sweater / Singlet / Bikini/bra / Other-upper-body-clothes | Upper-clothes
coat       | Coat | Coat | ~Upper-clothes | Torso | outerwear | coat | Coat / Jacket/windbreaker/hoodie | ~Upper-clothes
dress      | Dress | Dress | Dress | Torso / ~Upper Legs | dress | dress | Dress | Dress
robe       | ~Dress / ~Coat | ~Dress / ~Coat | ~Dress / ~Upper-clothes | ~Torso / ~Upper Legs / ~Lower Legs \
           | ~dress / ~outerwear | ~dress / ~coat | Robe / Other-full-body-clothes | ~Dress / ~Upper-clothes
jumpsuit   | Jumpsuits | ~Upper-clothes / ~Pants | ~Dress | ~Torso / ~Upper Legs / ~Lower Legs | ~dress | ~trousers \
           | Jumpsuit | ~Dress
skirt      | Skirt | Skirt | Skirt | Upper Legs | skirt | dress | Skirt | Skirt
pants      | Pants | Pants | Pants | Upper Legs / Lower Legs | pants | trousers | Pants | Pants
shorts     | ~Pants | ~Pants | ~Pants | Upper Legs | shorts | ~trousers | Shorts/swim-shorts | ~Pants
other lower | ~Pants / ~Skirt | ~Pants / ~Skirt | ~Pants / ~Skirt | ~Upper Legs / ~Lower Legs | ~pants / ~skirt \
           | ~trousers / ~dress | Other-lower-body-clothes | ~Pants / ~Skirt
hosiery    | Socks | Socks | ~Left-leg / ~Right-leg | ~Lower Legs | legwear | ~legs | Stockings / Socks \
           | ~Left-leg / ~Right-leg
scarf      | Scarf | Scarf | Scarf | ~Torso | scarf | ~top | Scarf | Scarf
belt       | ~Upper-clothes / ~Pants | ~Upper-clothes / ~Pants | Belt | ~Torso | belt | ~top / ~trousers | Belt | Belt
bag        | ~Background | ~Background | Bag | ~Background | bag | ~background \
           | Backpack / Carrybag / Cases / Wallet/purse | Bag
thing      | ~Background | ~Background | ~Background | ~Background | ~background | ~background \
           | Ball / Bats / Bottle / Umbrella | ~Background
accessory  | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm \
           | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm | ~Torso / ~Head / ~Lower Arms | accessories \
           | ~top / ~face / ~arms | Tie / Watch / Wristband / Protector / Other-accessary \
           | ~Upper-clothes / ~Face / ~Left-arm / ~Right-arm
glove      | Glove | Glove | ~Left-arm / ~Right-arm | ~Lower Arms | ~accessories | ~arms | Glove \
           | ~Left-arm / ~Right-arm
left arm   | Left-arm | Left-arm | Left-arm | Upper Arms / Lower Arms | skin | arms | Left-arm | Left-arm
right arm  | Right-arm | Right-arm | Right-arm | Upper Arms / Lower Arms | skin | arms | Right-arm | Right-arm
left hand  | Left-arm | Left-arm | Left-arm | Lower Arms | skin | arms | Left-hand | Left-arm
right hand | Right-arm | Right-arm | Right-arm | Lower Arms | skin | arms | Right-hand | Right-arm
left leg   | Left-leg | Left-leg | Left-leg | Upper Legs / Lower Legs | skin | legs | Left-leg | Left-leg
right leg  | Right-leg | Right-leg | Right-leg | Upper Legs / Lower Legs | skin | legs | Right-leg | Right-leg
left foot  | ~Left-leg | ~Left-leg | ~Left-leg | Lower Legs | skin | ~legs | Left-foot | ~Left-leg
right foot | ~Right-leg | ~Right-leg | ~Right-leg | Lower Legs | skin | ~legs | Right-foot | ~Right-leg
left shoe  | Left-shoe | Left-shoe | Left-shoe | ~Lower Legs | shoes | shoes \
           | Left-shoe / Left-boot / Left-highheel / Left-sandal | Left-shoe
right shoe | Right-shoe | Right-shoe | Right-shoe | ~Lower Legs | shoes | shoes \
           | Right-shoe / Right-boot / Right-highheel / Right-sandal | Right-shoe
torso skin | ~Upper-clothes / ~Face | Torso-skin | ~Upper-clothes / ~Face | ~Torso | skin | ~top / ~face | Torso-skin \
           | Torso-skin
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
            name: tuple(Holder(part.strip().lstrip("~"), "~" not in part) for part in cell.split(" / "))
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
    (('top',), ('left arm', 'right arm', 'left hand', 'right hand'))
    """
    return tuple(
        concept
        for concept, columns in CONCEPTS.items()
        if any(holder == Holder(class_name, True) for holder in columns[list_name])
    )
