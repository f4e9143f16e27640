"""What does not hold on each kind of broker, and the test that shows what holds there instead.

A test marked ``every_broker`` is left out for a kind that names it here: by its module, its name, or its name with
parameters. ``tests/test_differences.py`` sees to it that both sides exist.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_FRAMES: Final = "tests/activemq/contract/test_rabbitmq_frames.py"
_CLIENT: Final = "tests/activemq/contract/test_rabbitmq_client.py"
_SYSTEM: Final = "tests/system/test_rabbitmq.py"
_AMQP: Final = "tests/system/test_amqp.py"

_LATE: Final = f"{_FRAMES}::test_a_late_reply_is_confirmed_and_dropped"
_BODIES: Final = f"{_FRAMES}::test_bodies_are_bytes_with_their_length"
_TTL: Final = f"{_FRAMES}::test_expiration_is_a_time_to_live"
_RIGHTS: Final = f"{_SYSTEM}::test_a_missing_right_costs_the_connection_and_the_log_names_it"
_OWN_RIGHTS: Final = f"{_SYSTEM}::test_the_documented_rights_are_enough_in_a_virtual_host_of_ones_own"
_MESSAGE: Final = f"{_AMQP}::test_what_a_worker_gets"
_UNKNOWN: Final = f"{_SYSTEM}::test_a_call_without_a_worker_waits_for_its_deadline"

DIFFERENCES: Final[Mapping[str, Mapping[str, str]]] = {
    "artemis": {
        # it takes a reply to an address that is gone, and drops it
        "test_a_requester_that_is_gone_is_counted_its_message_acknowledged_and_the_next_one_served": (
            "tests/activemq/contract/test_client_contract.py::test_a_late_reply_harms_nobody"
        ),
    },
    "rabbitmq": {
        # a destination is declared by its SUBSCRIBE; what comes before is dropped
        "test_a_reply_may_come_before_its_subscription": _LATE,
        "test_a_late_reply_is_refused_and_keeps_the_connection": _LATE,
        "test_a_requester_that_is_gone_is_counted_its_message_acknowledged_and_the_next_one_served": _LATE,
        # a message is bytes, whatever it was
        "test_bytes_arrive_byte_for_byte[rabbitmq-empty]": (
            f"{_FRAMES}::test_headers_of_the_sender_are_handed_on_also_its_receipt"
        ),
        "test_text_goes_as_a_text_message_and_octets_as_a_bytes_message": _BODIES,
        # an ERROR names no receipt, and a refusal costs the connection
        "test_a_refused_send_keeps_the_connection": _RIGHTS,
        "test_a_refused_move_leaves_the_message_to_be_given_again": (
            f"{_CLIENT}::test_a_refused_move_costs_the_connection_and_the_message_comes_again"
        ),
        "test_a_refused_subscription_keeps_the_connection": (
            f"{_FRAMES}::test_a_refused_subscription_is_told_confirmed_and_costs_the_connection"
        ),
        "test_nobody_else_can_take_the_replies": (
            f"{_FRAMES}::test_an_exclusive_queue_is_closed_to_others_who_may_write_to_it"
        ),
        "test_its_refusal_is_an_error_to_it_too": _RIGHTS,
        "test_a_bad_login_is_told": f"{_CLIENT}::test_a_bad_login_is_told",
        # headers and ids are others
        "test_what_a_dead_worker_had_comes_again": (
            f"{_FRAMES}::test_a_lost_consumer_gives_back_and_only_what_it_had_is_redelivered"
        ),
        "test_renew_hands_on_what_was_not_acknowledged": f"{_CLIENT}::test_renew_hands_on_what_was_not_acknowledged",
        "test_after_a_kill_the_client_is_well_again_by_itself": (
            f"{_CLIENT}::test_after_a_kill_the_client_is_well_again_by_itself"
        ),
        "test_no_correlation_id_the_reply_carries_the_messages_own": (
            f"{_AMQP}::test_a_requester_with_a_queue_of_its_own"
        ),
        "test_each_slot_is_a_subscription_with_one_message_at_a_time": (
            f"{_FRAMES}::test_prefetch_is_of_each_subscription"
        ),
        "test_a_worker_sees_what_the_message_contract_says": _MESSAGE,
        "test_the_message_is_persistent_and_has_the_jobs_time_and_the_durable_reply_queue": (
            f"{_AMQP}::test_a_job_is_answered_and_kept_as_safe_as_its_request"
        ),
        # the time to live, and no clock
        "test_what_has_expired_is_receipted_and_never_delivered": _TTL,
        "test_a_message_expires_while_it_waits": _TTL,
        "test_prefer_wait_brings_the_504_forward_and_says_so": _MESSAGE,
        "test_the_brokers_clock_is_ours_on_this_machine": f"{_CLIENT}::test_the_brokers_clock_is_not_told",
        # rights are expressions, not roles; and no queue is known for the broker's own dead letters
        "test_a_login_that_may_not_read_is_a_503_that_the_log_explains": _OWN_RIGHTS,
        "test_every_route_has_its_queues_and_an_empty_one_counts_none": _OWN_RIGHTS,
        # there is no browsing
        "test_a_look_takes_nothing": f"{_CLIENT}::test_parked_messages_are_looked_at_and_one_is_taken_by_its_name",
        # priorities are the queue's declaration
        "test_of_what_is_queued_the_urgent_goes_first": (
            f"{_SYSTEM}::test_quorum_queues_and_priorities_on_queues_that_others_declare"
        ),
        # who listens is not told
        "tests/activemq/contract/test_presence.py": (
            f"{_FRAMES}::test_events_tell_of_consumers_that_come_and_go_but_not_of_those_that_are_there"
        ),
        "tests/bridge/test_contract_presence.py": _UNKNOWN,
    },
}


def differs(kind: str, path: str, name: str, original_name: str) -> bool:
    """Say whether a test is left out for a kind; ``path`` from the root, ``name`` with its parameters."""
    return bool({path, name, original_name} & DIFFERENCES.get(kind, {}).keys())
