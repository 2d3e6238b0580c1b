"""A cleaning run's folder: its items, what people decided about them, and the labels that follow from both."""

from noisycorrect.review.session.decisions import ACTIONS, Decision, Journal, Reviewed, read_decisions
from noisycorrect.review.session.final import FinalLabel, final_label, final_labels
from noisycorrect.review.session.items import KINDS_OF_ITEMS, Cleaning, Item, has_items, read_items, write_items
from noisycorrect.review.session.of_store import store_items

__all__ = [
    "ACTIONS",
    "KINDS_OF_ITEMS",
    "Cleaning",
    "Decision",
    "FinalLabel",
    "Item",
    "Journal",
    "Reviewed",
    "final_label",
    "final_labels",
    "has_items",
    "read_decisions",
    "read_items",
    "store_items",
    "write_items",
]
