from __future__ import annotations

from common.messages import ImageOutcome, ImageState
from common.reasons import Reason
from coordinator.core.image_tally import ImageTally
from coordinator.core.task import ImageCounts


def outcome(state: ImageState, **fields: object) -> ImageOutcome:
    """Of the image ``a``."""
    return ImageOutcome(image="a", state=state, **fields)  # type: ignore[arg-type]


def test_what_was_there_counts_apart_from_what_was_pulled() -> None:
    """Times and bytes are those of pulls that told them."""
    tally = ImageTally()
    tally.arrived(outcome(ImageState.PRESENT, bytes=100, seconds=0.1))
    tally.arrived(outcome(ImageState.PULLED, bytes=100, seconds=2.0))
    tally.arrived(outcome(ImageState.PULLED, bytes=100))
    tally.arrived(outcome(ImageState.PULLED, seconds=3.0))
    assert tally.counts() == ImageCounts(present=1, pulled=3, timed=2, seconds=5.0, bytes=100)


def test_a_node_that_is_given_up_has_the_images_reason_where_it_has_one() -> None:
    """None, where the agent was at fault, or the image was never tried."""
    tally = ImageTally()
    tally.given_up(outcome(ImageState.FAILED, reason=Reason.TLS_ERROR, message="bad"))
    tally.given_up(outcome(ImageState.FAILED, message="odd"))
    tally.given_up(None)
    assert tally.counts() == ImageCounts(failed=3, reasons={"TLSError": 1, "Unknown": 1})
