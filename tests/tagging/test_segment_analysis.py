"""How a segment is spread beside a baseline (spec TG-18)."""

from datetime import timedelta
from fractions import Fraction
from typing import Any

from scrm.tagging.v1 import analysis_pb2
from services.tagging.application.layer_commands import ActivateModel, DefineLayerModel
from services.tagging.application.tag_commands import AssignTags
from services.tagging.domain.conditions import Universe
from services.tagging.domain.history import Line
from services.tagging.domain.layers.kinds import Kind
from services.tagging.domain.segment_analysis import Counted, table
from tests.tagging.calling import Caller, Serve
from tests.tagging.world import START, behaved, created, knows, merged, paid, person, placed

PEOPLE = [person(n) for n in range(20)]
SOME = PEOPLE[:5]


def test_ac_58_24_percent_beside_16_are_an_index_of_150() -> None:
    found = table(Counted(200, 1000), {"X": Counted(48, 160), "Y": Counted(10, 400)})
    (city, other) = found.cells
    assert (city.value, city.tgi, city.grey) == ("X", Fraction(150), False)
    assert (other.tgi, other.grey) == (Fraction(25, 2), True)


def test_ac_118_few_are_grey_and_an_empty_cell_of_the_baseline_has_no_index() -> None:
    (twelve, new) = table(Counted(100, 1000), {"a": Counted(12, 60), "b": Counted(4, 0)}).cells
    assert (twelve.n, twelve.grey, twelve.tgi) == (12, True, Fraction(200))
    assert (new.n, new.tgi, new.baseline_share) == (4, None, Fraction(0))
    (nobody,) = table(Counted(0, 0), {"a": Counted(0, 0)}).cells
    assert (nobody.share, nobody.baseline_share, nobody.tgi) == (None, None, None)
    assert [it.grey for it in table(Counted(99, 99), {"a": Counted(29, 29), "b": Counted(30, 30)}).cells] == [
        False,
        True,
    ]


def test_only_the_most_frequent_values_are_told() -> None:
    many = table(Counted(300, 300), {str(n): Counted(n, n) for n in range(300)})
    assert (len(many.cells), many.cells[0].value, many.cut) == (200, "299", True)


def test_a_segment_is_analysed_by_all_that_is_known_of_its_customers(serve: Serve) -> None:
    async def check(caller: Caller) -> None:
        world = caller.world
        world.tell(*(created(it) for it in PEOPLE))
        for n, it in enumerate(PEOPLE):
            world.tell(
                knows(it, "city", "Shanghai" if n < 4 else "Beijing", START - timedelta(n == 19)),
                knows(it, "city", "Wuhan", START - timedelta(9), source=2),
                knows(it, "hobbies", '["tea", "go"]' if n < 2 else '["go"]', START),
                behaved(it, START, kind="button_clicked", button="serum" if n % 2 else "mask"),
            )
        for n in range(10):
            world.tell(placed(PEOPLE[n], n, START, Line("s", "serum" if n < 3 else "mask", "b", 1, 100, 100)))
            world.tell(paid(PEOPLE[n], n, START, 100))
        world.tell(merged(PEOPLE[0], PEOPLE[19]))
        world.do(AssignTags(PEOPLE[0], [("vip", "gold"), ("flag", "")]))
        world.do(AssignTags(PEOPLE[7], [("vip", "gold")]))
        world.do(DefineLayerModel("pyramid", Kind.PYRAMID, Universe.KNOWN, {}))
        world.do(ActivateModel("pyramid"))
        world.do(DefineLayerModel("aipl", Kind.AIPL, Universe.KNOWN, {}))
        world.at(START + timedelta(5))
        segment = str(world.listed("some", *SOME))

        async def cells(**kind: Any) -> dict[str, tuple[int, int]]:
            by = analysis_pb2.AnalysisDimension(**kind)
            answer = await caller.call("AnalyseSegment", segment_id=segment, dimensions=[by])
            assert (answer.size, answer.baseline_size) == (5, 19)
            (found,) = answer.tables
            assert found.dimension == by
            return {it.value: (it.n, it.baseline_n) for it in found.cells}

        behaviour = analysis_pb2.BehaviourDimension
        assert await cells(attribute="city") == {"Shanghai": (4, 4), "Beijing": (1, 15)}
        assert await cells(attribute="hobbies") == {"go": (5, 19), "tea": (2, 2)}
        assert await cells(tag_key="vip") == {"gold": (1, 2)}
        assert await cells(tag_key="flag") == {"yes": (1, 1)}
        assert await cells(model_id="pyramid") == {"L3": (5, 10), "L1": (0, 9)}
        funnel = await cells(funnel_model_id="pyramid")
        assert list(funnel.items())[:4] == [("L1", (5, 19)), ("L2", (5, 10)), ("L3", (5, 10)), ("L4", (0, 0))]
        assert await cells(behaviour=behaviour(days=30)) == {"button_clicked": (5, 19)}
        clicks = behaviour(days=30, event_type="button_clicked", property="button")
        assert await cells(behaviour=clicks) == {"mask": (3, 10), "serum": (3, 10)}  # the merged one did both
        assert await cells(behaviour=behaviour(days=2)) == {}
        assert await cells(bought_category_days=30) == {"serum": (3, 3), "mask": (2, 7)}

        ask: dict[str, Any] = {"segment_id": segment}
        by = analysis_pb2.AnalysisDimension
        wrong = by(attribute="x"), by(attribute="order_count"), by(model_id="x"), by(model_id="aipl")
        refusals = [await caller.refused("AnalyseSegment", dimensions=[it], **ask) for it in wrong]
        assert [it.reason for it in refusals] == [
            "UNKNOWN_DIMENSION",
            "UNKNOWN_DIMENSION",
            "MODEL_NOT_FOUND",
            "RUN_NOT_FOUND",
        ]
        beside = str(world.listed("nobody"))
        city = analysis_pb2.AnalysisDimension(attribute="city")
        alone = await caller.call("AnalyseSegment", baseline_segment_id=beside, dimensions=[city], **ask)
        cell = alone.tables[0].cells[0]
        assert (cell.value, cell.n, cell.grey, cell.share) == ("Shanghai", 4, True, 0.8)
        assert (cell.HasField("tgi"), cell.HasField("baseline_share")) == (False, False)
        hidden = await caller.refused("AnalyseSegment", tenant="globex", dimensions=[city], **ask)
        assert hidden.reason == "SEGMENT_NOT_FOUND"

    serve(check)
