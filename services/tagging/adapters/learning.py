"""What is learnt of customers: who is drawn, what the child is given, and what its answer says of everybody (spec TG-18)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pyroaring import BitMap

from services.tagging.domain.clusterings import Centroid, Cluster
from services.tagging.domain.errors import ClustersNotDistinct, NoFeatures
from services.tagging.domain.lookalikes import OTHERS_PER_SEED, Learnt
from services.tagging.read_models.features import Features

Positions = NDArray[np.int64]
LARGEST_SEED: Final = 20_000
"""Customers of the seed that are learnt from, drawn at random from a larger one."""
LARGEST_SAMPLE: Final = 50_000
"""Customers that the centres of clusters are found from."""


class Sample(NamedTuple):
    """Customers drawn for a look-alike by their position, and for each whether it is of the seed."""

    positions: Positions
    label: NDArray[np.int8]


@dataclass(frozen=True, slots=True)
class Alike:
    """Who is like the seed, the probability of the last of them, and what was learnt."""

    who: BitMap
    threshold: float
    learnt: Learnt


@dataclass(frozen=True, slots=True)
class Clusters:
    """The clusters, the largest first, and who is in which."""

    clusters: Sequence[Cluster]
    members: Sequence[BitMap]
    silhouette: float


def drawn(features: Features, seed: BitMap, random_seed: int) -> Sample:
    """The seed, or some of it, and five times as many others. Raises NoFeatures."""
    if not features.names:
        raise NoFeatures(field="features")
    random = np.random.default_rng(random_seed)
    of_seed = _is_in(features, seed)
    chosen = _some(random, np.flatnonzero(of_seed), LARGEST_SEED)
    others = _some(random, np.flatnonzero(~of_seed), OTHERS_PER_SEED * len(chosen))
    positions = np.concatenate([chosen, others])
    return Sample(positions, np.repeat(np.array([1, 0], np.int8), [len(chosen), len(others)]))


def learnt(features: Features, sample: Sample, answer: dict[str, NDArray[Any]]) -> Learnt:
    """What tells the seed from others, what says most first."""
    weights = zip(features.names, map(float, answer["weights"]), strict=True)
    ordered = sorted((it for it in weights if it[1]), key=lambda it: (-abs(it[1]), it[0]))
    return Learnt(tuple(ordered), float(answer["auc"]), len(sample.positions), int(answer["holdout"]))


def alike(
    features: Features, seed: BitMap, found: Learnt, answer: dict[str, NDArray[Any]], extent: int | float
) -> Alike:
    """Of all who are not of the seed, so many (int) who are most like it, or (float) all with that probability."""
    chance = _probabilities(features, answer)
    others = np.flatnonzero(~_is_in(features, seed))
    if isinstance(extent, int):
        ranked = others[np.lexsort((features.who[others], -chance[others]))][:extent]
    else:
        ranked = others[chance[others] >= extent]
    threshold = float(chance[ranked].min()) if len(ranked) else 1.0
    return Alike(BitMap(features.who[ranked]), threshold, found)


def sampled(features: Features, random_seed: int) -> Positions:
    """Customers to find centres from, in an order that is drawn too. Raises NoFeatures."""
    if not features.names:
        raise NoFeatures(field="features")
    random = np.random.default_rng(random_seed)
    return random.permutation(len(features.who))[:LARGEST_SAMPLE].astype(np.int64)


def clusters(features: Features, answer: dict[str, NDArray[Any]]) -> Clusters:
    """Everybody in the cluster whose centre is nearest. Raises ClustersNotDistinct."""
    centres = answer["centres"]
    if not len(centres):
        raise ClustersNotDistinct(field="clusters")
    nearest = _nearest(features, answer)
    sizes = np.bincount(nearest, minlength=len(centres))
    order = np.lexsort((*centres.T[::-1], -sizes))
    members = [BitMap(features.who[nearest == it]) for it in order if sizes[it]]
    means = np.stack([column.astype(np.float64) for column in _means(features, nearest, len(centres))], axis=1)
    overall = (means * sizes[:, None]).sum(axis=0) / len(nearest)
    described = [
        Cluster(int(sizes[it]), _centroid(features.names, means[it], overall, answer["scale"]))
        for it in order
        if sizes[it]
    ]
    return Clusters(described, members, float(answer["silhouette"]))


def _some(random: np.random.Generator, positions: Positions, most: int) -> Positions:
    return positions if len(positions) <= most else np.sort(random.choice(positions, most, replace=False))


def _is_in(features: Features, who: BitMap) -> NDArray[np.bool_]:
    return np.isin(features.who, np.asarray(who.to_array(), np.uint32), assume_unique=True)


def _probabilities(features: Features, answer: dict[str, NDArray[Any]]) -> NDArray[np.float64]:
    """Of each customer, the probability of being of the seed."""
    logit = np.full(len(features.who), float(answer["intercept"]))
    for number, (_, column) in enumerate(features.columns()):
        per_unit = float(answer["weights"][number] / answer["scale"][number])
        logit += (column.astype(np.float64) - float(answer["mean"][number])) * per_unit
    chances: NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(logit, -500, 500)))
    return chances


def _nearest(features: Features, answer: dict[str, NDArray[Any]]) -> Positions:
    """Of each customer, the centre that is nearest; of equally near ones the first."""
    centres = answer["centres"]
    distances = np.zeros((len(centres), len(features.who)), np.float32)
    for number, (_, column) in enumerate(features.columns()):
        point = (column - np.float32(answer["mean"][number])) / np.float32(answer["scale"][number])
        for row, centre in enumerate(centres[:, number]):
            distances[row] += (point - np.float32(centre)) ** 2
    nearest: Positions = distances.argmin(axis=0)
    return nearest


def _means(features: Features, nearest: Positions, count: int) -> list[NDArray[np.float64]]:
    """The average of each feature in each cluster."""
    sizes = np.maximum(np.bincount(nearest, minlength=count), 1)
    return [np.bincount(nearest, weights=column, minlength=count) / sizes for _, column in features.columns()]


def _centroid(
    names: Sequence[str], mean: NDArray[Any], overall: NDArray[Any], scale: NDArray[Any]
) -> tuple[Centroid, ...]:
    found = [
        Centroid(name, float(mean[n]), float(overall[n]), float((mean[n] - overall[n]) / scale[n]))
        for n, name in enumerate(names)
    ]
    return tuple(sorted(found, key=lambda it: (-abs(it.z), it.feature)))
