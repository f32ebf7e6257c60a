"""Buckets: the published vectors, speed, and the split of the real audience."""

from time import process_time

import pytest

from services.campaigns.domain.buckets import bucket, buckets, experiment_seed, fnv1a32, global_control_seed
from services.campaigns.domain.design import HOLDOUT, REMAINDER, Arm, BucketRange, Design
from services.campaigns.domain.evaluation import Health, sample_ratio
from tests.campaigns.cdnow import win_back_audience


@pytest.mark.parametrize(("text", "expected"), [("", 2166136261), ("a", 3826002220)])
def test_the_hash_is_fnv1a_of_32_bits(text: str, expected: int) -> None:
    assert fnv1a32(text) == expected


@pytest.mark.parametrize(
    ("seed", "key", "expected"),
    [
        ("", "a", 216),
        ("exp:winback-9801", "cdnow:00001", 4147),
        ("exp:winback-9801", "cdnow:00002", 4173),
        ("gcg:cdnow-demo", "cdnow:00001", 9794),
        ("reach", "cdnow:00003", 6173),
    ],
)
def test_a_key_falls_into_the_published_bucket(seed: str, key: str, expected: int) -> None:
    assert bucket(seed, key) == expected
    assert buckets(seed, [key]) == [expected]


def test_buckets_of_unicode_seeds_and_keys_are_those_of_one_by_one() -> None:
    keys = ["", "客户", "cdnow:00001", "x" * 300]
    assert buckets("gcg:品牌", keys) == [bucket("gcg:品牌", key) for key in keys]


def test_three_buckets_for_14_000_customers_take_less_than_half_a_second_of_cpu() -> None:
    keys = [f"cdnow:{n:05d}" for n in range(14_000)]
    started = process_time()
    for seed in ("gcg:cdnow-demo", "exp:winback-9801", "reach"):
        buckets(seed, keys)
    assert process_time() - started < 0.5


def test_buckets_are_even_and_those_of_two_seeds_have_nothing_to_do_with_each_other() -> None:
    keys = [f"cdnow:{n:05d}" for n in range(1, 23_571)]
    one, other = buckets("gcg:cdnow-demo", keys), buckets("exp:winback-9801", keys)
    tens = dict.fromkeys(map(str, range(10)), 1)
    assert sample_ratio({str(n): sum(b // 1000 == n for b in one) for n in range(10)}, tens).p > 0.1
    both = [b for a, b in zip(one, other, strict=True) if a < 500]
    assert sample_ratio({str(n): sum(b // 1000 == n for b in both) for n in range(10)}, tens).p > 0.1


def test_the_win_back_audience_is_split_as_published() -> None:
    keys = win_back_audience()
    assert len(keys) == 13_888
    control = buckets(global_control_seed("cdnow-demo"), keys)
    units = [key for key, b in zip(keys, control, strict=True) if b >= 500]
    assert (len(keys) - len(units), len(units)) == (710, 13_178)
    variants = DESIGN.variants(buckets(experiment_seed("winback-9801"), units))
    counts = {str(it): variants.count(it) for it in (HOLDOUT, "A", "B", REMAINDER)}
    assert list(counts.values()) == [1_341, 1_958, 2_048, 7_831]
    ratio = sample_ratio(counts, {variant: it.size for variant, it in DESIGN.ranges.items()})
    assert (round(ratio.statistic, 2), ratio.degrees, round(ratio.p, 3)) == (3.88, 3, 0.274)
    assert ratio.health is Health.OK


DESIGN = Design(
    arms=(Arm("A", BucketRange(1000, 2500), "a"), Arm("B", BucketRange(2500, 4000), "b")),
    holdout=BucketRange(0, 1000),
    remainder=BucketRange(4000, 10_000),
)
