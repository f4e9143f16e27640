from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from activemq.embedded.configuration import BrokerLimits, Configuration, Login, Role
from activemq.embedded.rendering import render

NAMESPACE = "{http://activemq.apache.org/schema/core}"
BOTH = frozenset({Role.BRIDGE, Role.WORKER})


def configured(**changes) -> Configuration:
    options = {"stomp_port": 61613, "openwire_port": 61616, "logins": (Login("bridge", "secret", BOTH),)}
    return Configuration(**{**options, **changes})


def parsed(configuration: Configuration) -> ET.Element:
    return ET.fromstring(render("classic", configuration)["activemq.xml"])


def all_of(tree: ET.Element, name: str) -> list[ET.Element]:
    return list(tree.iter(NAMESPACE + name))


def rights_of(tree: ET.Element, kind: str) -> dict[str, dict[str, set[str]]]:
    """Destination pattern → right → groups."""
    return {
        entry.attrib[kind]: {
            right: set(entry.attrib.get(right, "").split(",")) - {""} for right in ("read", "write", "admin")
        }
        for entry in all_of(tree, "authorizationEntry")
        if kind in entry.attrib
    }


def test_each_login_is_a_user_with_the_groups_of_its_roles():
    logins = (Login("bridge", "one", BOTH), Login("root", "two", frozenset({Role.ADMIN})))
    users = all_of(parsed(configured(logins=logins)), "authenticationUser")
    assert [user.attrib for user in users] == [
        {"username": "bridge", "password": "one", "groups": "bridges,workers"},
        {"username": "root", "password": "two", "groups": "admins"},
    ]


def test_nobody_comes_in_without_a_login():
    (plugin,) = all_of(parsed(configured()), "simpleAuthenticationPlugin")
    assert plugin.attrib["anonymousAccessAllowed"] == "false"


def test_characters_of_xml_are_escaped():
    login = Login("<a&\"b'>", "]]>&amp;\"'", BOTH)
    (user,) = all_of(parsed(configured(logins=(login,))), "authenticationUser")
    assert (user.attrib["username"], user.attrib["password"]) == (login.name, login.passcode)


@pytest.mark.parametrize("bad", ["", " a", "a ", "a\nb", "a\0b", "a\\b", "a${b}", "a#{b}", "ENC(a)"])
def test_a_login_or_passcode_that_the_broker_would_take_for_something_else_is_refused(bad):
    with pytest.raises(ValueError, match=r"^login must"):
        Login(bad, "secret", BOTH)
    with pytest.raises(ValueError, match=r"^passcode must"):
        Login("bridge", bad, BOTH)


def test_a_refused_passcode_is_not_repeated():
    with pytest.raises(ValueError, match="passcode") as caught:
        Login("bridge", "hush${", BOTH)
    assert "hush" not in str(caught.value)


def test_repr_holds_no_passcode():
    assert "secret" not in repr(configured())


def test_both_connectors_are_on_loopback_with_the_frame_limit_and_without_nagle():
    tree = parsed(configured(limits=BrokerLimits(max_frame=5_000_000)))
    uris = {one.attrib["name"]: one.attrib["uri"] for one in all_of(tree, "transportConnector")}
    assert list(uris) == ["openwire", "stomp"], "STOMP last: once it answers, all listen"
    assert uris["stomp"].startswith("stomp://127.0.0.1:61613?")
    assert uris["openwire"].startswith("tcp://127.0.0.1:61616?")
    for uri in uris.values():
        assert "transport.tcpNoDelay=true" in uri
        assert "wireFormat.maxFrameSize=5000000" in uri


def test_stomp_can_be_as_on_a_broker_as_it_is_delivered():
    openwire, stomp = all_of(parsed(configured(tcp_no_delay=False)), "transportConnector")
    assert "transport.tcpNoDelay=true" in openwire.attrib["uri"]
    assert "transport.tcpNoDelay=false" in stomp.attrib["uri"]


def test_both_connectors_have_an_end_to_their_connections_and_to_who_does_not_log_in():
    tree = parsed(configured(limits=BrokerLimits(connections=7, connect_timeout=3)))
    for one in all_of(tree, "transportConnector"):
        assert "maximumConnections=7&" in one.attrib["uri"]
        assert "transport.connectAttemptTimeout=3000" in one.attrib["uri"]


def test_limits_are_rendered_in_bytes():
    tree = parsed(configured(limits=BrokerLimits(memory=1, store=2, temp=3)))
    shown = [
        next(one.attrib["limit"] for one in all_of(tree, name) if one.attrib)
        for name in ("memoryUsage", "storeUsage", "tempUsage")
    ]
    assert shown == ["1", "2", "3"]


def test_named_worker_queues_are_workers_to_read_and_their_poison_to_write():
    queues = rights_of(parsed(configured(worker_queues=("jobs", "img.>"))), "queue")
    readable = {name for name, rights in queues.items() if "workers" in rights["read"]}
    assert readable == {"jobs", "img.>"}
    writable = {name for name, rights in queues.items() if "workers" in rights["write"]}
    assert writable == readable | {"jobs.poison", "bridge.replies.>"}


def test_workers_read_the_cancel_topic_and_cannot_write_it():
    topics = rights_of(parsed(configured()), "topic")
    assert "workers" in topics["bridge.cancel"]["read"]
    assert not any("workers" in rights["write"] for rights in topics.values())


@pytest.mark.parametrize("bad", ["", "a,b", "a.>.b", "*", "a*", "a..b", ".a", "a.", 'a"', "a b", "é"])
def test_a_worker_queue_that_is_not_a_name_is_refused(bad):
    with pytest.raises(ValueError, match="worker_queues"):
        configured(worker_queues=(bad,))


@pytest.mark.parametrize("port", [-1, 65536])
def test_a_port_out_of_range_is_refused(port):
    with pytest.raises(ValueError, match=f"{port} is not a port"):
        configured(stomp_port=port)
    with pytest.raises(ValueError, match=f"{port} is not a port"):
        configured(openwire_port=port)


def test_the_ends_of_the_range_of_ports_are_taken():
    assert configured(stomp_port=0, openwire_port=65535).openwire_port == 65535


def test_two_connectors_cannot_share_a_port_but_both_may_be_chosen():
    with pytest.raises(ValueError, match="cannot share"):
        configured(stomp_port=7, openwire_port=7)
    assert configured(stomp_port=0, openwire_port=0).stomp_port == 0


def test_two_logins_of_one_name_are_refused():
    with pytest.raises(ValueError, match="same name"):
        configured(logins=(Login("a", "1", BOTH), Login("a", "2", BOTH)))
