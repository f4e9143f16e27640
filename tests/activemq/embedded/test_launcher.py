from __future__ import annotations


async def test_session_broker_runs(broker):
    assert broker.running
    assert broker.stomp_url == f"stomp://127.0.0.1:{broker.stomp_port}"


async def test_killed_broker_comes_back_on_the_same_ports(own_broker):
    broker = await own_broker()
    ports = (broker.stomp_port, broker.openwire_port)
    first = broker.pid
    await broker.kill()
    assert not broker.running
    await broker.start()
    assert broker.running
    assert broker.pid != first
    assert (broker.stomp_port, broker.openwire_port) == ports
