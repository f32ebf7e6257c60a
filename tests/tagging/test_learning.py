"""Who is like whom (spec TG-18): look-alikes and clusters, learnt in a process of their own, the same for the same customers and seed."""

import sys
from datetime import timedelta
from random import Random
from typing import Any
from uuid import UUID

import pytest
from pyroaring import BitMap

from scrm.tagging.v1 import analysis_pb2
from scrm.tagging.v1 import events_pb2 as tagging
from services.tagging.application import clustering_commands
from services.tagging.application.clustering_commands import KeepClustering
from services.tagging.application.layer_commands import ActivateModel, DefineLayerModel
from services.tagging.application.published_events import publish
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.clusterings import Cluster, Clustering, cluster_name
from services.tagging.domain.conditions import HasTag, InLayer, Universe, that
from services.tagging.domain.features import FeatureChoice
from services.tagging.domain.layers.kinds import Kind
from services.tagging.domain.lookalikes import Lookalike
from services.tagging.domain.segments import Definition
from services.tagging.domain.tags import CustomerTags
from services.tagging.read_models import bitmaps, directory
from tests.tagging.calling import Caller, Serve
from tests.tagging.test_erasure import erasing
from tests.tagging.world import START, TENANT, World, behaved, consented, created, merged, paid, person

PEOPLE = [person(n) for n in range(900)]
BUYERS, READERS = PEOPLE[:250], PEOPLE[250:500]
SEED = PEOPLE[:150]
LIKE_THEM = set(BUYERS[150:])
"""Those who buy as much as the seed; everybody else does something else, or nothing."""


@pytest.fixture
def town(world: World) -> World:
    """Buyers, readers, and others who were seen once."""
    random = Random(7)
    world.tell(*(created(it) for it in PEOPLE))
    world.tell(
        *(
            paid(it, f"{n}/{k}", START + timedelta(random.uniform(0, 50)), random.randint(5_000, 9_000))
            for n, it in enumerate(BUYERS)
            for k in range(random.randint(3, 6))
        ),
        *(
            behaved(it, START + timedelta(random.uniform(0, 50)), kind="content_viewed")
            for it in READERS
            for _ in range(random.randint(8, 14))
        ),
        *(behaved(it, START + timedelta(random.uniform(0, 50)), kind="checkin") for it in PEOPLE[500:]),
        batch=2000,
    )
    world.at(START + timedelta(60))
    return world


def named(world: World, members: Any) -> set[UUID]:
    with world.engine.connect() as rows:
        return {it.id for it in directory.by_ordinal(rows, TENANT, members)}


def in_run(world: World, run: str) -> dict[str, set[UUID]]:
    found = world.rows(f"SELECT layer, members FROM run_layers WHERE run = '{run}'")
    return {layer: named(world, bitmaps.unpack(bytes(members))) for layer, members in found}


def test_a_lookalike_finds_who_is_like_the_seed_and_nobody_of_it(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        seed = town.listed("seed", *SEED)
        asked: dict[str, Any] = {"lookalike_id": "buyers", "seed_segment_id": str(seed), "random_seed": 5}
        answer = await caller.call("BuildLookalike", size=80, **asked)
        found, segment = answer.lookalike, answer.segment
        assert (found.version, found.seed_size, found.size, segment.size) == (1, 150, 80, 80)
        assert found.auc > 0.9
        assert (found.sample_size, found.holdout_size) == (900, 180)  # 150 and five times as many: all there are
        weights = {it.feature: it.weight for it in found.weights}
        assert weights["purchase:net"] > 0 > weights["behaviour:channels"]
        alike = town.members(UUID(found.segment_id))
        assert alike < LIKE_THEM
        assert segment.definition.dynamic.layer.run_id == found.run_id

        again = (await caller.call("BuildLookalike", size=80, **asked)).lookalike
        assert (again.version, again.weights, again.auc) == (2, found.weights, found.auc)
        assert town.members(UUID(again.segment_id)) == alike
        certain = (await caller.call("BuildLookalike", threshold=0.5, **asked)).lookalike
        assert town.members(UUID(certain.segment_id)) >= LIKE_THEM
        assert not town.members(UUID(certain.segment_id)) & set(SEED)
        assert certain.threshold >= 0.5

        got = await caller.call("GetLookalike", lookalike_id="buyers", version=1)
        assert got.lookalike == found
        assert (await caller.call("GetLookalike", lookalike_id="buyers")).lookalike == certain
        page = await caller.call("ListLookalikes", page_size=2)
        rest = await caller.call("ListLookalikes", page_size=2, page_token=page.next_page_token)
        assert [it.version for it in [*page.lookalikes, *rest.lookalikes]] == [1, 2, 3]
        built = [publish(it) for it in town.events(Lookalike.Built)]
        assert isinstance(built[0], tagging.LookalikeBuilt)
        assert (built[0].lookalike_id, built[0].size, built[0].auc) == ("buyers", 80, found.auc)

        omitted = analysis_pb2.FeatureChoice(omitted=["purchase", "behaviour"])
        nothing = await caller.refused("BuildLookalike", size=9, features=omitted, **asked)
        assert nothing.reason == "NO_FEATURES"
        assert (await caller.refused("GetLookalike", lookalike_id="buyers", version=9)).reason == "LOOKALIKE_NOT_FOUND"
        other = await caller.refused("GetLookalike", lookalike_id="buyers", tenant="globex")
        assert other.reason == "LOOKALIKE_NOT_FOUND"

    serve(check)
    assert town.rebuild() == {}
    assert "sklearn" not in sys.modules


def test_ac_118_a_random_seed_is_too_weak_and_one_of_99_too_small(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        random = Random(3)
        anybody = town.listed("anybody", *random.sample(PEOPLE, 450))
        few = town.listed("few", *PEOPLE[:99])
        nearly_all = town.listed("nearly all", *PEOPLE[:850])
        asked: dict[str, Any] = {"lookalike_id": "x", "size": 10}
        weak = await caller.refused("BuildLookalike", seed_segment_id=str(anybody), **asked)
        assert (weak.code, weak.reason) == ("FAILED_PRECONDITION", "MODEL_TOO_WEAK")
        assert 0.4 < float(weak.metadata["auc"]) < 0.6
        small = await caller.refused("BuildLookalike", seed_segment_id=str(few), **asked)
        assert (small.reason, small.metadata["customers"]) == ("SEED_TOO_SMALL", "99")
        alone = await caller.refused("BuildLookalike", seed_segment_id=str(nearly_all), **asked)
        assert alone.reason == "POPULATION_TOO_SMALL"
        assert (await caller.call("ListLookalikes")).lookalikes == []

    serve(check)


def test_ac_58_the_same_seed_and_customers_make_the_same_clusters(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        found = (await caller.call("RunClustering", clustering_id="who", random_seed=11)).clustering
        again = (await caller.call("RunClustering", clustering_id="who", random_seed=11)).clustering
        assert (found.version, again.version) == (1, 2)
        assert (again.clusters, again.silhouette) == (found.clusters, found.silhouette)
        assert in_run(town, again.run_id) == in_run(town, found.run_id)
        assert found.silhouette > 0.5
        assert found.population == len(PEOPLE)

        asked: dict[str, Any] = {"clustering_id": "three", "clusters": 3, "random_seed": 1}
        three = (await caller.call("RunClustering", **asked)).clustering
        members = in_run(town, three.run_id)
        assert [members[f"CLUSTER:{n}"] for n in (1, 2, 3)] == [set(PEOPLE[500:]), set(BUYERS), set(READERS)] or [
            members[f"CLUSTER:{n}"] for n in (1, 2, 3)
        ] == [set(PEOPLE[500:]), set(READERS), set(BUYERS)]
        assert [it.size for it in three.clusters] == [400, 250, 250]
        (buyers,) = [it for it in three.clusters if members[it.name] == set(BUYERS)]
        assert "much purchase:net" in buyers.description
        assert abs(buyers.centroid[0].z) > 1

        town.fire()
        assert {town.assignments(it)["cluster_three"].value for it in BUYERS[:5]} == {buyers.name}
        assert town.tagged("cluster_three") == set(PEOPLE)
        assert town.assignments(BUYERS[0])["cluster_three"].source == f"MODEL:{three.run_id}"
        segment = town.define("buyers", Definition(condition=that(HasTag("cluster_three", buyers.name))))
        assert town.members(segment) == set(BUYERS)
        by_run = InLayer("clustering:three", buyers.name, UUID(three.run_id))
        assert town.members(town.define("by run", Definition(condition=that(by_run)))) == set(BUYERS)
        (built,) = [it for it in map(publish, town.events(Clustering.Built)) if told(it) == "three"]
        assert isinstance(built, tagging.ClustersBuilt)
        assert (list(built.sizes), built.tag_key) == ([400, 250, 250], "cluster_three")

    serve(check)
    assert town.rebuild() == {}
    assert "sklearn" not in sys.modules


def told(message: Any) -> str:
    return str(message.clustering_id)


def test_another_version_moves_the_tags_and_whoever_is_in_no_cluster_loses_them(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.call("RunClustering", clustering_id="who", clusters=3)
        town.fire()
        assert town.tagged("cluster_who") == set(PEOPLE)
        some = town.listed("some", *PEOPLE[:600])
        again = await caller.call("RunClustering", clustering_id="who", clusters=2, segment_id=str(some))
        town.fire()
        assert town.tagged("cluster_who") == set(PEOPLE[:600])
        members = in_run(town, again.clustering.run_id)
        for name in ("CLUSTER:1", "CLUSTER:2"):
            assert town.tagged(f"cluster_who={name}") == members[name]

    serve(check)
    assert town.rebuild() == {}


def test_a_version_tags_page_by_page_those_whose_cluster_is_another_one_and_nobody_else(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clustering_commands, "_PAGE", 7)
    world.tell(*(created(it) for it in PEOPLE[:30]))
    with world.engine.connect() as rows:
        ordinals = sorted(it.ordinal for it in directory.canonical(rows, TENANT, PEOPLE[:30]).values())

    def keep(*parts: list[int]) -> int:
        """How many pages a version with these clusters takes."""
        found = [Cluster(len(it), ()) for it in parts]
        world.do(KeepClustering("who", FeatureChoice(), 1, found, [BitMap(it) for it in parts], 0.5, 1))
        pages = world.fire()
        for number, it in enumerate(parts):
            assert world.tagged(f"cluster_who={cluster_name(number)}") == named(world, it)
        return pages

    assert keep(ordinals[:20], ordinals[20:]) == 5
    before = len(world.events(CustomerTags.Assigned))
    assert keep(ordinals[:20], ordinals[20:]) == 1
    assert len(world.events(CustomerTags.Assigned)) == before == 30
    assert keep(ordinals[:15], ordinals[15:]) == 1
    assert len(world.events(CustomerTags.Assigned)) == before + 5
    assert keep(ordinals[:10]) == 3
    assert world.tagged("cluster_who") == named(world, ordinals[:10])
    world.tell(merged(PEOPLE[0], PEOPLE[1]))
    assert world.rebuild() == {}


def test_what_people_said_when_asked_is_linked_to_their_cluster(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        await caller.call("RunClustering", clustering_id="who", clusters=2)
        link: dict[str, Any] = {"clustering_id": "who", "cluster": "CLUSTER:2", "survey_ref": "interviews-2025-04"}
        await caller.call("LinkClusterSurvey", respondents=12, topics=["price", "gifts"], **link)
        found = (
            await caller.call("LinkClusterSurvey", respondents=14, confirmed=True, topics=["gifts"], **link)
        ).clustering
        (survey,) = found.clusters[1].surveys
        assert (survey.respondents, survey.confirmed, list(survey.topics)) == (14, True, ["gifts"])
        assert not found.clusters[0].surveys
        assert (await caller.call("GetClustering", clustering_id="who")).clustering == found
        assert list((await caller.call("ListClusterings")).clusterings) == [found]
        later = (await caller.call("RunClustering", clustering_id="who", clusters=2)).clustering
        assert not any(it.surveys for it in later.clusters)
        missing: dict[str, Any] = {**link, "cluster": "CLUSTER:3"}
        assert (await caller.refused("LinkClusterSurvey", respondents=1, **missing)).reason == "CLUSTERING_NOT_FOUND"

    serve(check)


def test_too_few_customers_or_too_alike_are_not_clustered(world: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world.tell(*(created(it) for it in PEOPLE[:99]))
        assert (await caller.refused("RunClustering", clustering_id="who")).reason == "POPULATION_TOO_SMALL"
        world.tell(created(PEOPLE[99]))
        assert (await caller.refused("RunClustering", clustering_id="who")).reason == "NO_FEATURES"
        world.tell(paid(PEOPLE[0], "a", START, 100))
        asked: dict[str, Any] = {"clustering_id": "who", "clusters": 3}
        assert (await caller.refused("RunClustering", **asked)).reason == "CLUSTERS_NOT_DISTINCT"
        assert (await caller.call("RunClustering", clustering_id="who")).clustering.clusters[1].size == 1

    serve(check)


def test_tags_and_layers_are_features_but_none_that_is_sensitive_or_learnt(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        for it in SEED:
            town.do(AssignTags(it, [("vip", "gold")]))
        town.do(DefineLayerModel("pyramid", Kind.PYRAMID, Universe.KNOWN, {}))
        town.do(ActivateModel("pyramid"))
        await caller.call("RunClustering", clustering_id="who", clusters=2)
        town.fire()
        seed = town.define("gold", Definition(condition=that(HasTag("vip", "gold"))))
        asked: dict[str, Any] = {"lookalike_id": "vips", "seed_segment_id": str(seed), "size": 50}
        leaking = (await caller.call("BuildLookalike", **asked)).lookalike
        assert (leaking.weights[0].feature, leaking.auc) in {("tag:vip", 1.0), ("tag:vip=gold", 1.0)}
        names = {it.feature for it in leaking.weights}
        assert {"layer:pyramid:L5", "behaviour:events"} <= names
        assert not any(it.startswith(("tag:cluster_", "tag:said")) for it in names)
        honest = analysis_pb2.FeatureChoice(omitted=["tag:vip"])
        found = (await caller.call("BuildLookalike", features=honest, **asked)).lookalike
        assert not any(it.feature.startswith("tag:vip") for it in found.weights)
        assert town.members(UUID(found.segment_id)) < LIKE_THEM

    serve(check)


def test_nothing_is_learnt_of_who_refuses_profiling_and_the_erased_are_in_no_set(town: World, serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        refusing, asking = BUYERS[200:210], BUYERS[210:220]
        town.tell(*(consented(it, "PROFILING", "DENIED", START) for it in refusing))
        town.tell(*(consented(it, "PROFILING", "GRANTED", START) for it in asking))
        seed = town.listed("seed", *SEED)
        asked: dict[str, Any] = {"lookalike_id": "buyers", "seed_segment_id": str(seed), "threshold": 0.5}
        alike = town.members(UUID((await caller.call("BuildLookalike", **asked)).lookalike.segment_id))
        assert not alike & set(refusing)
        assert set(asking) < alike
        clusters = (await caller.call("RunClustering", clustering_id="who", clusters=3)).clustering
        assert clusters.population == len(PEOPLE) - len(refusing)
        town.fire()

        gone = [SEED[0], asking[0]]
        ordinals = BitMap(
            it for (it,) in town.rows(f"SELECT ordinal FROM nodes WHERE node IN ('{gone[0]}', '{gone[1]}')")
        )
        assert kept_of(town, ordinals) == 4
        for it in gone:
            town.tell(erasing(it))
        assert kept_of(town, ordinals) == 0

    serve(check)
    assert town.rebuild() == {}


def kept_of(world: World, ordinals: BitMap) -> int:
    """In how many seeds, look-alikes and clusters these are, counted for each."""
    sets = [bitmaps.unpack(bytes(it)) for (it,) in world.rows("SELECT members FROM run_layers")]
    return sum(len(it & ordinals) for it in sets)
