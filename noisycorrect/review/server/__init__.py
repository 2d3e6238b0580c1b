"""The review page: a local server, on this machine alone, where people decide about labels."""

from noisycorrect.review.server.serving import ReviewServer, serve_review
from noisycorrect.review.server.state import ReviewState, StaleDecisionError

__all__ = ["ReviewServer", "ReviewState", "StaleDecisionError", "serve_review"]
