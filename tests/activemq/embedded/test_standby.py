"""What two brokers of a pair are told, and how it is seen which of them waits."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from activemq.embedded import BrokerPair, Database, EmbeddedBroker, fetch
from activemq.embedded.artifacts import ARTEMIS, CLASSIC, JDBC, LOCKED, ZOOKEEPER, load_lock
from activemq.embedded.configuration import Configuration, Login, Role
from activemq.embedded.rendering import render
from activemq.embedded.standby import Replica, SharedDatabase, SharedFile, Waits

CORE = "{http://activemq.apache.org/schema/core}"
BEANS = "{http://www.springframework.org/schema/beans}"
ARTEMIS_CORE = "{urn:activemq:core}"
URL = "jdbc:mariadb://127.0.0.1:3306/activemq"
LOGINS = (Login("bridge", "secret", frozenset({Role.BRIDGE})),)


def classic(standby) -> ET.Element:
    return ET.fromstring(render("classic", Configuration(1, 2, LOGINS, standby=standby))["activemq.xml"])


def artemis(standby) -> ET.Element:
    return ET.fromstring(render("artemis", Configuration(1, 2, LOGINS, standby=standby))["etc/broker.xml"])


def test_a_broker_alone_refuses_a_folder_in_use_and_one_of_a_pair_waits_for_it(tmp_path):
    (alone,) = classic(None).iter(f"{CORE}shared-file-locker")
    (waiting,) = classic(SharedFile(tmp_path)).iter(f"{CORE}shared-file-locker")
    assert alone.attrib == {"failIfLocked": "true"}
    assert waiting.attrib == {"lockAcquireSleepInterval": "1000"}


def test_both_of_a_pair_have_the_same_folder(tmp_path):
    folder = tmp_path / "a & b"
    (store,) = classic(SharedFile(folder)).iter(f"{CORE}kahaDB")
    assert store.attrib["directory"] == str(folder)
    assert store.attrib["lockKeepAlivePeriod"] == "1000"


def test_a_database_is_told_with_what_would_mean_something_in_xml_escaped():
    tree = classic(SharedDatabase(URL + "?a=b&c=d", "us<er", 'pass"word', "one"))
    (source,) = (bean for bean in tree.iter(f"{BEANS}bean") if bean.get("id") == "store")
    told = {one.attrib["name"]: one.attrib["value"] for one in source}
    assert told["url"] == URL + "?a=b&c=d"
    assert (told["username"], told["password"]) == ("us<er", 'pass"word')


def test_of_a_lease_each_holder_has_its_own_name_and_renews_it_in_time():
    tree = classic(SharedDatabase(URL, "user", "password", "one"))
    (locker,) = tree.iter(f"{CORE}lease-database-locker")
    (store,) = tree.iter(f"{CORE}jdbcPersistenceAdapter")
    assert locker.attrib["leaseHolderId"] == "one"
    assert 2 * int(store.attrib["lockKeepAlivePeriod"]) < int(locker.attrib["lockAcquireSleepInterval"])


def test_the_databases_dialect_is_named_because_the_driver_is_not_known():
    assert list(classic(SharedDatabase(URL, "user", "password", "one")).iter(f"{CORE}mysql-jdbc-adapter"))


def test_a_broker_that_lost_its_database_opens_again_only_with_its_lease():
    tree = classic(SharedDatabase(URL, "user", "password", "one"))
    (handler,) = tree.iter(f"{CORE}ioExceptionHandler")
    assert handler[0].attrib["class"] == "org.apache.activemq.util.LeaseLockerIOExceptionHandler"
    assert not list(classic(None).iter(f"{CORE}ioExceptionHandler"))


@pytest.mark.parametrize(
    "url", ["", "mysql://127.0.0.1/x", "jdbc:postgresql://127.0.0.1/x", "jdbc:mariadb://127.0.0.1", URL + " x"]
)
def test_what_is_no_database_of_mariadb_is_refused(url):
    with pytest.raises(ValueError, match="jdbc:mariadb://HOST:PORT/NAME"):
        SharedDatabase(url, "user", "password", "one")


@pytest.mark.parametrize("bad", ["${x}", "#{x}"])
def test_what_spring_would_evaluate_is_refused(bad):
    with pytest.raises(ValueError, match="must not hold"):
        SharedDatabase(URL, "user", bad, "one")


def test_an_artemis_pair_knows_each_other_and_takes_its_lock_at_zookeeper():
    tree = artemis(Replica("a", 3, "127.0.0.1:4,127.0.0.1:5", "be<tween"))
    connectors = {one.attrib["name"]: one.text for one in tree.iter(f"{ARTEMIS_CORE}connector")}
    properties = {one.attrib["key"]: one.attrib["value"] for one in tree.iter(f"{ARTEMIS_CORE}property")}
    assert connectors == {"self": "tcp://127.0.0.1:2", "peer": "tcp://127.0.0.1:3"}
    assert properties["connect-string"] == "127.0.0.1:4,127.0.0.1:5"
    assert [one.text for one in tree.iter(f"{ARTEMIS_CORE}cluster-password")] == ["be<tween"]
    assert [one.text for one in tree.iter(f"{ARTEMIS_CORE}name")] == ["a"]


def test_an_artemis_alone_has_nothing_of_it():
    tree = artemis(None)
    assert not list(tree.iter(f"{ARTEMIS_CORE}ha-policy"))
    assert not list(tree.iter(f"{ARTEMIS_CORE}connector"))


def test_no_repr_holds_a_password():
    database = Database(URL, "user", "hush-hush")
    shown = repr([database, SharedDatabase(URL, "user", "hush-hush", "one"), Replica("a", 3, "z", "hush-hush")])
    assert "hush-hush" not in shown


@pytest.mark.parametrize("distribution", LOCKED.values(), ids=LOCKED)
def test_every_set_has_a_lock_that_names_its_jars(distribution):
    assert set(load_lock(distribution)) == {one.file_name for one in distribution.coordinates}


@pytest.mark.parametrize(
    ("kind", "standby", "sets"),
    [
        ("classic", None, [CLASSIC]),
        ("artemis", None, [ARTEMIS]),
        ("classic", SharedDatabase(URL, "user", "password", "one"), [CLASSIC, JDBC]),
        ("artemis", Replica("a", 3, "z", "p"), [ARTEMIS, ZOOKEEPER]),
    ],
)
async def test_only_who_needs_more_jars_fetches_them(monkeypatch, kind, standby, sets):
    asked = []
    monkeypatch.setattr(fetch, "ensure_jars", lambda one, *_: asked.append(one) or [])
    await EmbeddedBroker(kind, standby=standby).fetch()
    assert asked == sets


def test_what_does_not_go_together_is_refused(tmp_path):
    with pytest.raises(ValueError, match="SharedFile is for classic, not for artemis"):
        EmbeddedBroker("artemis", standby=SharedFile(tmp_path))
    with pytest.raises(ValueError, match=r"must be one of shared-file, shared-jdbc, artemis-zookeeper, not 'both'"):
        BrokerPair("both", tmp_path)
    with pytest.raises(ValueError, match="a database is needed for shared-jdbc"):
        BrokerPair("shared-jdbc", tmp_path)
    with pytest.raises(ValueError, match="a database is needed for shared-jdbc, and for nothing else"):
        BrokerPair("shared-file", tmp_path, database=Database(URL, "user", "password"))


def test_both_of_a_pair_have_the_same_passcode_and_ports_of_their_own(tmp_path):
    pair = BrokerPair("artemis-zookeeper", tmp_path)
    first, second = pair.brokers
    assert first.passcode == second.passcode == pair.passcode
    assert len({first.stomp_port, first.openwire_port, second.stomp_port, second.openwire_port}) == 4
    assert pair.urls == (first.stomp_url, second.stomp_url)
    assert pair.partner(first) is second
    assert pair.partner(second) is first


def test_a_log_tells_that_its_broker_waits_unless_it_also_says_that_it_does_not():
    waits = Waits("wants it", unless="has it")
    assert not waits.told_by("begins")
    assert waits.told_by("begins\nwants it\n")
    assert not waits.told_by("begins\nwants it\nhas it\n")
