"""When to try again, and when to give up."""

from __future__ import annotations

import pytest
from ips_client.errors import IpsError, NotFound, Problem, ServerUnreachable, Unavailable
from ips_client.retrying import LONGEST_DELAY, Retries, spread
from ips_client.talk import LinkFailure

pytestmark = pytest.mark.pure

AWAY = ServerUnreachable("away")


def retries(patience: float = 100.0) -> Retries:
    """Retries without chance."""
    return Retries(patience, lambda: 1.0)


def test_delays_double_up_to_a_limit() -> None:
    """And begin anew after a success."""
    run = retries()
    delays = [run.delay(AWAY, now=0.0) for _ in range(8)]
    assert delays == [0.1, 0.2, 0.4, 0.8, 1.6, LONGEST_DELAY, LONGEST_DELAY, LONGEST_DELAY]
    run.succeed()
    assert run.delay(AWAY, now=0.0) == 0.1


def test_patience_counts_from_the_first_failure() -> None:
    """And its end is not passed by a pause."""
    run = retries(patience=10)
    run.delay(AWAY, now=50.0)
    assert run.delay(AWAY, now=59.7) == 0.2
    with pytest.raises(ServerUnreachable):
        run.delay(AWAY, now=59.7)
    run.succeed()
    run.delay(AWAY, now=59.7)


def test_the_server_may_ask_for_more() -> None:
    """``Retry-After``."""
    busy = Unavailable(Problem("Service Unavailable", 503, ""), retry_after=2.0)
    assert retries().delay(busy, now=0.0) == 2.0
    with pytest.raises(Unavailable):
        retries(patience=1).delay(busy, now=0.0)


def lasting() -> ServerUnreachable:
    """Make an error that trying again does not mend."""
    error = ServerUnreachable("no such host")
    error.__cause__ = LinkFailure("no such host", lasting=True)
    return error


@pytest.mark.parametrize("error", [lasting(), NotFound(Problem("Not Found", 404, ""))])
def test_what_lasts_is_not_tried_again(error: IpsError) -> None:
    """However patient one is."""
    with pytest.raises(type(error)):
        retries().delay(error, now=0.0)


def test_spread() -> None:
    """Delays are cut to something between a half and the whole."""
    assert all(0.5 <= spread() < 1.0 for _ in range(1000))


def test_the_services_own_504_is_its_answer() -> None:
    """It has waited for an agent in vain; a gateway's says nothing of that, and passes."""
    own = Problem("Gateway Timeout", 504, "silent", document={"messageCode": "node.silent"})
    with pytest.raises(Unavailable):
        Retries(10.0).delay(Unavailable(own), 0.0)
    assert Retries(10.0).delay(Unavailable(Problem("Gateway Timeout", 504, "")), 0.0) > 0
