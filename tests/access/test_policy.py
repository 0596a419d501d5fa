from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.access.callers import ANYBODY, Caller, Way
from coordinator.access.policy import Allowed, Policy, Refused, decide, glob_matches, read_policy
from coordinator.core.task import Operator, Requirement, TaskImage

pytestmark = pytest.mark.pure

ANN = Caller(user="ann", groups=("shop", "all"), way=Way.OIDC)
BOB = Caller(user="bob", groups=("ml",), way=Way.OIDC)


def policy(*rules: dict[str, Any]) -> Policy:
    """A policy as its file has it."""
    return read_policy(json.dumps({"rules": rules}))


def images(*names: str) -> list[TaskImage]:
    """Images of a task, by names that are full already."""
    return [TaskImage(name=name, reference=name) for name in names]


@pytest.mark.parametrize(
    ("pattern", "reference", "fits"),
    [
        ("docker.io/library/redis:7", "docker.io/library/redis:7", True),
        ("docker.io/library/redis:7", "docker.io/library/redis:71", False),
        ("docker.io/library/redis:*", "docker.io/library/redis:7-alpine", True),
        ("docker.io/library/*", "docker.io/library/redis:7", True),
        ("docker.io/*", "docker.io/library/redis:7", False),
        ("docker.io/**", "docker.io/library/redis:7", True),
        ("docker.io/**", "docker.io.evil.example/library/redis:7", False),
        ("**", "docker.io/library/redis:7", True),
        ("**/redis:7", "docker.io/library/redis:7", True),
        ("**/library/**", "docker.io/library/redis:7", True),
        ("**/a/**/b/**", "x/a/c/a/b/d", True),
        ("**/a/b", "x/a/a/b", True),
        ("*.example/shop/*:v*", "registry.example/shop/cart:v1", True),
        ("*.example/shop/*:v*", "registry.example/shop/cart:1", False),
        ("*a*b*a*", "xaybza", True),
        ("a*a", "a", False),
        ("ab*ba", "aba", False),
        ("r.example/a?c:1", "r.example/abc:1", False),
        ("r.example/[ab]:1", "r.example/a:1", False),
        ("r.example/a.c:1", "r.example/abc:1", False),
        ("", "a", False),
    ],
)
def test_a_pattern_fits_a_whole_reference(pattern: str, reference: str, fits: bool) -> None:
    """Part by part; nothing but stars has a meaning."""
    assert glob_matches(pattern, reference) is fits


@given(st.text("ab*", max_size=8), st.text("ab", max_size=10))
def test_within_a_part_a_star_is_a_shells(pattern: str, text: str) -> None:
    """As the standard library has it."""
    if pattern != "**":
        assert glob_matches(pattern, text) is fnmatchcase(text, pattern)


def test_no_pattern_takes_long() -> None:
    """However it is made, and whatever is matched with it."""
    began = time.process_time()
    assert not glob_matches("*a" * 300 + "b", "a" * 1000)
    assert not glob_matches("**/a/" * 100 + "b", "a/" * 500)
    assert time.process_time() - began < 1


def test_the_first_rule_that_allows_all_images_counts() -> None:
    """With its nodes, its priority and its number of nodes."""
    rules = policy(
        {"name": "ml", "who": {"groups": ["ml"]}, "images": ["**"]},
        {"name": "cart", "who": {"users": ["ann"]}, "images": ["r.example/shop/cart:*"]},
        {
            "name": "shop",
            "who": {"groups": ["shop"]},
            "images": ["r.example/shop/*"],
            "nodes": {
                "nodeSelector": {"team": "shop"},
                "matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}],
            },
            "maxPriority": 7,
            "maxNodes": 10,
        },
    )
    assert decide(rules, ANN, images("r.example/shop/cart:1"), 10) == Allowed("cart", (), None)
    both = images("r.example/shop/cart:1", "r.example/shop/till:1")
    assert decide(rules, ANN, both, 7) == Allowed(
        "shop",
        (
            Requirement(key="team", operator=Operator.IN, values=("shop",)),
            Requirement(key="gpu", operator=Operator.DOES_NOT_EXIST),
        ),
        10,
    )
    refused = decide(rules, ANN, both, 8)
    assert isinstance(refused, Refused)
    assert refused.text.code == "policy.priority"
    assert decide(rules, BOB, both, 10) == Allowed("ml", (), None)


def test_a_refusal_names_image_and_rule() -> None:
    """Those of the rule that is nearest to allowing it."""
    rules = policy(
        {"images": ["r.example/other/*"], "who": {"users": ["*"]}},
        {"name": "shop", "who": {"groups": ["shop"]}, "images": ["r.example/shop/*"]},
    )
    wanted = images("r.example/shop/cart:1", "docker.io/library/redis:7")
    refused = decide(rules, ANN, wanted, 5)
    assert isinstance(refused, Refused)
    assert refused.text.params == {"rule": "shop", "image": "docker.io/library/redis:7"}
    refused = decide(rules, BOB, wanted, 5)
    assert isinstance(refused, Refused)
    assert refused.text.params == {"rule": "number 1", "image": "r.example/shop/cart:1"}
    refused = decide(rules, ANYBODY, wanted, 5)
    assert isinstance(refused, Refused)
    assert refused.text.code == "policy.noRule"
    assert isinstance(decide(policy(), ANN, wanted, 1), Refused)


def test_a_rule_without_who_is_for_everybody() -> None:
    """Also for whoever is not known, where nobody is asked."""
    assert isinstance(decide(policy({"images": ["**"]}), ANYBODY, images("a/b:1"), 10), Allowed)


def expression(entry: dict[str, Any]) -> str:
    """A policy with one label requirement."""
    return json.dumps({"rules": [{"images": ["a"], "nodes": {"matchExpressions": [entry]}}]})


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("", "truncated"),
        ("[]", "Expected `object`"),
        ("[" * 5000, "."),
        ('{"rules": [{"images": ["a"], "image": []}]}', "unknown field `image`"),
        ('{"rules": [{"who": {"groups": ["a"]}}]}', "missing required field `images`"),
        ('{"rules": [{"images": []}]}', r"\$\.rules\[0\]\.images"),
        ('{"rules": [{"images": ["a**"]}]}', r"rule number 1: \*\* in 'a\*\*'"),
        ('{"rules": [{"images": ["a"], "who": {}}]}', "names nobody"),
        ('{"rules": [{"images": ["a"], "maxPriority": 11}]}', r"maxPriority"),
        ('{"rules": [{"images": ["a"], "maxNodes": 0}]}', r"maxNodes"),
        (
            '{"rules": [{"name": "x", "images": ["a"], "nodes": {"nodeSelector": {"a b": "c"}}}]}',
            "rule x: 'a b' or one of its values is no label",
        ),
        (
            expression({"key": "a", "operator": "In"}),
            "In does not take 0 values",
        ),
        (
            expression({"key": "a", "operator": "Is", "values": ["b"]}),
            "operator",
        ),
    ],
)
def test_a_bad_file_is_refused_as_a_whole(text: str, place: str) -> None:
    """With the place that is wrong."""
    with pytest.raises(ValueError, match=place):
        read_policy(text)
