"""Leaves on behaviours and orders on the wire, with their comparisons and windows."""

from collections.abc import Iterable
from datetime import date
from uuid import UUID

from google.type.date_pb2 import Date

from chassis.errors import BadFormat
from scrm.tagging.v1 import condition_pb2 as pb
from scrm.tagging.v1 import segment_pb2
from services.tagging.application.wire import day
from services.tagging.domain.conditions import (
    ALL_TIME,
    Absence,
    Comparison,
    Delivered,
    DeliveryStatus,
    EventTest,
    Figure,
    FlowState,
    Happening,
    InFlow,
    Leaf,
    Operator,
    OrderFigure,
    OrderTest,
    Period,
    Plain,
    PropertyTest,
    Streak,
    StreakUnit,
    Succession,
    Value,
    Window,
    last_days,
    last_hours,
)


def of_facts(message: segment_pb2.Condition) -> Leaf:
    """The leaf of a condition that is about behaviours or orders. Raises BadFormat for a date that there is not."""
    match message.WhichOneof("kind"):
        case "event":
            it = message.event
            figure = Figure(pb.EventTest.Figure.Name(it.figure).removeprefix("FIGURE_"))
            what, compared = _happening(it.what), comparison(it.comparison)
            return EventTest(what, figure, compared, _window(it.window), it.property, it.days)
        case "absence":
            absence = message.absence
            return Absence(
                _happening(absence.what), _happening(absence.other), absence.within_seconds, _window(absence.window)
            )
        case "sequence":
            course = message.sequence
            steps = tuple(map(_happening, course.steps))
            return Succession(steps, course.within_seconds, course.gap_seconds, _window(course.window))
        case "streak":
            streak = message.streak
            unit = StreakUnit(pb.Streak.Unit.Name(streak.unit).removeprefix("UNIT_"))
            return Streak(_happening(streak.what), streak.length, unit, _window(streak.window))
        case "flow":
            return _in_flow(message.flow)
        case "delivery":
            return _delivered(message.delivery)
    order = message.order
    of_orders = OrderFigure(pb.OrderTest.Figure.Name(order.figure).removeprefix("FIGURE_"))
    return OrderTest(of_orders, comparison(order.comparison), _window(order.window), _tests(order.where))


def of_facts_message(it: Leaf) -> object:
    match it:
        case EventTest():
            return pb.EventTest(
                what=_happening_message(it.what),
                figure=pb.EventTest.Figure.Value(f"FIGURE_{it.figure}"),
                property=it.property,
                days=it.days,
                comparison=comparison_message(it.comparison),
                window=_window_message(it.window),
            )
        case Absence(what, other, within, window):
            return pb.Absence(
                what=_happening_message(what),
                other=_happening_message(other),
                within_seconds=within,
                window=_window_message(window),
            )
        case Succession(steps, within, gap, window):
            return pb.Succession(
                steps=map(_happening_message, steps),
                within_seconds=within,
                gap_seconds=gap,
                window=_window_message(window),
            )
        case Streak(what, length, unit, window):
            number = pb.Streak.Unit.Value(f"UNIT_{unit}")
            return pb.Streak(what=_happening_message(what), length=length, unit=number, window=_window_message(window))
        case OrderTest():
            return pb.OrderTest(
                figure=pb.OrderTest.Figure.Value(f"FIGURE_{it.figure}"),
                comparison=comparison_message(it.comparison),
                window=_window_message(it.window),
                where=_test_messages(it.where),
            )
        case InFlow(flow, state):
            return pb.InFlow(flow_id=str(flow) if flow else None, state=pb.InFlow.State.Value(f"STATE_{state}"))
        case Delivered(campaign, status, window):
            return pb.Delivered(
                campaign_id=str(campaign) if campaign else None,
                status=pb.Delivered.Status.Value(f"STATUS_{status}"),
                window=_window_message(window),
            )
    raise TypeError(f"{type(it).__name__} is not about facts")


def _in_flow(message: pb.InFlow) -> InFlow:
    flow = UUID(message.flow_id) if message.HasField("flow_id") else None
    return InFlow(flow, FlowState(pb.InFlow.State.Name(message.state).removeprefix("STATE_")))


def _delivered(message: pb.Delivered) -> Delivered:
    campaign = UUID(message.campaign_id) if message.HasField("campaign_id") else None
    status = DeliveryStatus(pb.Delivered.Status.Name(message.status).removeprefix("STATUS_"))
    return Delivered(campaign, status, _window(message.window))


def comparison(message: pb.Comparison) -> Comparison:
    operator = Operator(pb.Operator.Name(message.operator).removeprefix("OPERATOR_"))
    return Comparison(operator, tuple(map(_value, message.values)))


def comparison_message(it: Comparison) -> pb.Comparison:
    return pb.Comparison(
        operator=pb.Operator.Value(f"OPERATOR_{it.operator}"), values=[value_message(one.plain) for one in it.values]
    )


def calendar_date(message: Date, field: str) -> date:
    """Raises BadFormat for what is no day of the calendar."""
    try:
        return date(message.year, message.month, message.day)
    except ValueError:
        raise BadFormat(f"{field} is no day of the calendar", field=field) from None


def _value(message: pb.ConditionValue) -> Value:
    match message.WhichOneof("kind"):
        case "number":
            return Value(number=message.number)
        case "truth":
            return Value(truth=message.truth)
    return Value(text=message.text)


def value_message(plain: Plain) -> pb.ConditionValue:
    match plain:
        case bool():
            return pb.ConditionValue(truth=plain)
        case str():
            return pb.ConditionValue(text=plain)
    return pb.ConditionValue(number=plain)


def _happening(message: pb.Happening) -> Happening:
    hours = (message.hours.from_hour, message.hours.to_hour) if message.HasField("hours") else ()
    return Happening(
        message.event_type, message.category, _tests(message.where), hours, tuple(sorted(message.weekdays))
    )


def _happening_message(it: Happening) -> pb.Happening:
    return pb.Happening(
        event_type=it.type,
        category=it.category,
        where=_test_messages(it.where),
        hours=pb.HourRange(from_hour=it.hours[0], to_hour=it.hours[1]) if it.hours else None,
        weekdays=it.weekdays,
    )


def _tests(messages: Iterable[pb.PropertyTest]) -> tuple[PropertyTest, ...]:
    return tuple(PropertyTest(it.key, comparison(it.comparison)) for it in messages)


def _test_messages(tests: tuple[PropertyTest, ...]) -> list[pb.PropertyTest]:
    return [pb.PropertyTest(key=it.key, comparison=comparison_message(it.comparison)) for it in tests]


def _window(message: pb.ConditionWindow) -> Window:
    match message.WhichOneof("kind"):
        case "last_days":
            return last_days(message.last_days)
        case "last_hours":
            return last_hours(message.last_hours)
        case "between":
            span = message.between
            return Window(Period.BETWEEN, 0, calendar_date(span.first, "first"), calendar_date(span.last, "last"))
        case "this_month":
            return Window(Period.THIS_MONTH)
    return ALL_TIME


def _window_message(it: Window) -> pb.ConditionWindow:
    match it.period:
        case Period.LAST_N_DAYS:
            return pb.ConditionWindow(last_days=it.n)
        case Period.LAST_N_HOURS:
            return pb.ConditionWindow(last_hours=it.n)
        case Period.THIS_MONTH:
            return pb.ConditionWindow(this_month=pb.ThisMonth())
        case Period.BETWEEN:
            first, last = (None if one is None else day(one) for one in (it.first, it.last))
            return pb.ConditionWindow(between=pb.DateSpan(first=first, last=last))
    return pb.ConditionWindow(all_time=pb.AllTime())
