"""Ids of dead letters, and what of one goes into the job that is made of it. Pure."""

from __future__ import annotations

import pytest

from activemq import Frame
from activemq.brokers.classic import CLASSIC
from bridge.deadletters.letter import LetterId, letter_of, may_look_into
from bridge.deadletters.replaying import replay_of
from bridge.problems import Problem
from bridge.routing import ServedRoute
from bridge.settings import Route

ROUTES = [
    ServedRoute(
        Route(
            name="r",
            path="/r/{id}",
            queue="q",
            methods=frozenset({"PUT", "DELETE"}),
            max_attempts=7,
            priority_ceiling=5,
        )
    )
]
OF_A_CALL = {"type": "r", "http_method": "PUT", "http_target": "/r/1"}
SENT = OF_A_CALL | {"original_queue": "/queue/q", "message-id": "ID:1"}


def replayed(headers, body=b"", queue="q.poison"):
    return replay_of(Frame.of("MESSAGE", headers, body), queue, CLASSIC, ROUTES)


def properties(headers, **options):
    return dict(replayed(headers, **options).request.properties)


def refusal(headers, **options):
    with pytest.raises(Problem) as caught:
        replayed(headers, **options)
    assert caught.value.name == "not-replayable"
    return caught.value.detail


# -- ids


@pytest.mark.parametrize(
    "name", ["ID:host-1:2:-1:1:1", "a b", "a/b", "~", "=", "=41", "%41", "a\nb", "✓", "?", "#", "..", "'"]
)
def test_an_id_is_read_as_it_was_written_and_is_one_segment(name):
    text = str(LetterId("q.poison", name))
    assert LetterId.parse(text) == LetterId("q.poison", name)
    assert set(text) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-~:=")


@pytest.mark.parametrize(("length", "known"), [(999, True), (1_000, True), (1_001, False), (0, False)])
def test_a_name_is_no_longer_than_a_header_can_be(length, known):
    text = f"q.poison~{'x' * length}"
    if known:
        assert LetterId.parse(text).name == "x" * length
    else:
        with pytest.raises(Problem, match="no-dead-letter"):
            LetterId.parse(text)


@pytest.mark.parametrize(
    "text", ["", "q.poison", "~", "q.poison~", "~x", "a b~x", "q.poison~=FF", "q.poison~=00", "x" * 161 + "~x"]
)
def test_what_is_no_id_is_unknown(text):
    with pytest.raises(Problem, match="no-dead-letter"):
        LetterId.parse(text)


@pytest.mark.parametrize(
    ("queue", "may"),
    [("a.poison", True), ("DLQ.a", True), ("ActiveMQ.DLQ", True), (".poison", False), ("a", False),
     ("a.poison.b", False),
     ("a>.poison", False), ("a,b.poison", False), ("a.poison\n", False), ("x" * 153 + ".poison", True),
     ("x" * 154 + ".poison", False)],
)  # fmt: skip
def test_only_dead_letters_may_be_looked_into(queue, may):
    assert may_look_into(queue, CLASSIC) is may


# -- a letter


def test_a_parked_message_that_was_given_up_there_still_knows_its_first_queue():
    headers = SENT | {"original-destination": "/queue/q.poison"}
    letter = letter_of(Frame.of("MESSAGE", headers), "DLQ.q.poison", CLASSIC)
    assert (letter.kind, letter.original_queue) == ("dead", "q")
    assert replayed(headers, queue="DLQ.q.poison").request.queue == "q"


def test_a_parked_message_without_a_word_was_in_the_queue_of_that_name():
    assert letter_of(Frame.of("MESSAGE", {"message-id": "1"}), "q.poison", CLASSIC).original_queue == "q"
    assert letter_of(Frame.of("MESSAGE", {"message-id": "1"}), "DLQ.q", CLASSIC).original_queue is None


def test_a_header_that_cannot_be_read_hides_nothing():
    frame = Frame("MESSAGE", "\nmessage-id:1\ntype:\\x\ncaller:\\x\nattempt:\\x\ntimestamp:1", b"x")
    letter = letter_of(frame, "q.poison", CLASSIC)
    assert (letter.route, letter.caller, letter.attempts, letter.when, letter.size) == (
        None, None, None, "1970-01-01T00:00:00.001Z", 1,
    )  # fmt: skip
    with pytest.raises(Problem, match="cannot be read"):
        replay_of(frame, "q.poison", CLASSIC, ROUTES)


# -- what goes into the job


def test_the_job_is_as_a_first_call_would_have_made_it():
    made = replayed(SENT | {"attempt": "3", "max_attempts": "3", "redeliver": "no", "caller": "shop"})
    assert made.request.properties == (
        ("attempt", "1"), ("max_attempts", "7"), ("redeliver", "true"), ("max_reply", str(ROUTES[0].max_reply)),
        ("caller", "shop"), ("http_method", "PUT"), ("http_target", "/r/1"),
    )  # fmt: skip
    assert (made.caller, made.target) == ("shop", "/r/1")


@pytest.mark.parametrize(
    "name",
    ["content_type", "http_header_accept_language", "http_header_x!#$%&'*+.^`|~y", "path_id", "path_a-b", "traceparent",
     "tracestate", "idempotency_key", "orderId", "_x", "$y"],
)  # fmt: skip
def test_what_the_work_is_about_goes_along(name):
    assert properties(SENT | {name: "value:\r\n"})[name] == "value:\r\n"


@pytest.mark.parametrize(
    "name",
    ["receipt", "transaction", "selector", "transformation", "expires", "priority", "timestamp", "persistent",
     "reply-to",
     "amq-msg-type", "correlation-id", "JMSXGroupID", "JMSReplyTo", "AMQ_SCHEDULED_DELAY", "_AMQ_GROUP_ID", "__HDR",
     "reply_kinds", "started_after_ms", "deadline_ms", "budget_ms", "original_queue", "original_reply_to",
     "original_expires", "originalExpiration", "dlqDeliveryFailureCause", "original-destination", "a b", "a:b", "a\nb",
     "1a", "http_header_a:b", "http_header_a\nb", "ünï"],
)  # fmt: skip
def test_what_is_the_brokers_or_could_harm_the_shared_connection_stays_behind(name):
    assert name not in properties(SENT | {name: "/queue/q" if name == "original_queue" else "1"})


@pytest.mark.parametrize(
    ("given", "sent"), [({}, 4), ({"priority": "0"}, 0), ({"priority": "9"}, 5), ({"priority": "x"}, 4)]
)
def test_the_priority_is_kept_below_the_routes_ceiling(given, sent):
    assert replayed(SENT | given).request.priority == sent


@pytest.mark.parametrize(
    ("headers", "body", "text"),
    [({}, b"x", True), ({"content-length": "1"}, b"x", False), ({}, b"a\0b", False), ({}, b"", True)],
)
def test_text_stays_text_unless_it_cannot(headers, body, text):
    made = replayed(SENT | headers, body)
    assert (made.request.text, made.request.body) == (text, body)


def test_a_message_that_was_no_call_is_made_one_of_its_route():
    made = replayed({"original_queue": "/queue/q", "content-type": "text/plain"})
    assert (made.method, made.target) == ("DELETE", "/r/{id}")
    assert dict(made.request.properties)["content_type"] == "text/plain"


@pytest.mark.parametrize(("method", "target"), [("pu t", "/r/1"), ("PUT", "r/1"), ("PUT", "/r/ 1"), ("", "")])
def test_a_call_that_makes_no_sense_is_replaced_by_what_does(method, target):
    made = replayed(SENT | {"http_method": method, "http_target": target})
    assert made.method in ("PUT", "DELETE")
    assert made.target in ("/r/1", "/r/{id}")


@pytest.mark.parametrize(("number", "fits"), [(899, True), (900, True), (901, False)])
def test_as_many_properties_as_a_broker_takes(number, fits):
    headers = SENT | {f"p{n}": "1" for n in range(number)}
    if fits:
        assert len(replayed(headers).request.properties) == number + 6
    else:
        assert "901 properties" in refusal(headers)


def test_a_nul_is_refused():
    frame = Frame("MESSAGE", "\ntype:r\nhttp_method:PUT\noriginal_queue:/queue/q\nbad:a\0b", b"")
    with pytest.raises(Problem, match="NUL"):
        replay_of(frame, "q.poison", CLASSIC, ROUTES)


@pytest.mark.parametrize(
    ("headers", "queue", "reason"),
    [
        (SENT | {"type": "gone"}, "q.poison", "no route 'gone' to the queue 'q'"),
        (SENT | {"original_queue": "/queue/other"}, "q.poison", "no route 'r' to the queue 'other'"),
        (SENT | {"original_queue": "nonsense"}, "q.poison", "nobody has written down"),
        ({"original_queue": "/queue/other"}, "q.poison", "no route to the queue 'other'"),
        (OF_A_CALL, "ActiveMQ.DLQ", "nobody has written down"),
        (SENT | {"left_out": "a, b"}, "q.poison", "parked without 'a, b'"),
    ],
)
def test_what_cannot_be_replayed_says_why(headers, queue, reason):
    assert reason in refusal(headers, queue=queue)
