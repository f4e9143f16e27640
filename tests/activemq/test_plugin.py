"""The pytest plugin, as in a project of a user's: a pytest run of its own for each test."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from activemq.embedded import EmbeddedBroker

A_TEST = """
    from activemq.frames import encode

    async def test_a_message_arrives(activemq_broker, activemq_queue):
        async with activemq_broker.client() as client:
            await client.wait_connected()
            data = encode("SEND", [("destination", f"/queue/{activemq_queue}"), ("receipt", "1")], b"hello")
            await client.request_receipt(data, "1", timeout=20)
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    for name in ("ACTIVEMQ_TEST_BROKER", "MQBRIDGE_BROKER__LOGIN", "MQBRIDGE_BROKER__PASSCODE"):
        monkeypatch.delenv(name, raising=False)
    pytester.makepyfile(A_TEST)
    return pytester


def run(project: pytest.Pytester, *arguments: str, alone: bool = True) -> pytest.RunResult:
    """Run it; ``alone``: only with the plugins that it needs, as loading all of this project's own takes long."""
    if alone:
        arguments = (
            "--disable-plugin-autoload",
            "-p",
            "pytest_asyncio.plugin",
            "-p",
            "activemq.testing.plugin",
            *arguments,
        )
    options = ("asyncio_mode=auto", "asyncio_default_fixture_loop_scope=function")
    return project.runpytest_subprocess("-W", "error", *(f"-o{option}" for option in options), *arguments)


@pytest.fixture
def there(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch, project: pytest.Pytester) -> EmbeddedBroker:
    """A broker that is there already, with its login in the environment."""
    monkeypatch.setenv("MQBRIDGE_BROKER__LOGIN", broker.login)
    monkeypatch.setenv("MQBRIDGE_BROKER__PASSCODE", broker.passcode)
    return broker


@pytest.mark.broker
def test_without_any_setting_it_is_the_embedded_broker(project: pytest.Pytester):
    run(project, alone=False).assert_outcomes(passed=1)


def test_the_command_line_names_one_that_is_there(project: pytest.Pytester, there: EmbeddedBroker):
    run(project, f"--activemq-broker={there.stomp_url}").assert_outcomes(passed=1)


def test_the_environment_names_one_and_goes_before_the_file(
    project: pytest.Pytester, there: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
):
    project.makeini("[pytest]\nactivemq_broker = nonsense")
    monkeypatch.setenv("ACTIVEMQ_TEST_BROKER", there.stomp_url)

    run(project).assert_outcomes(passed=1)


def test_the_command_line_goes_before_the_environment(
    project: pytest.Pytester, there: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("ACTIVEMQ_TEST_BROKER", "nonsense")

    run(project, f"--activemq-broker={there.stomp_url}").assert_outcomes(passed=1)


def test_the_configuration_file_names_one(project: pytest.Pytester, there: EmbeddedBroker):
    project.makeini(f"[pytest]\nactivemq_broker = {there.stomp_url}\nactivemq_kind = classic")

    run(project).assert_outcomes(passed=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--activemq-broker=nonsense"], "must be embedded, container, or the stomp:// URL"),
        (
            ["--activemq-kind=rabbitmq", "--activemq-broker=container"],
            "kind must be 'classic' or 'artemis', not 'rabbitmq'",
        ),
        (["--activemq-missing=perhaps"], "must be fail or skip"),
        (["--activemq-timeout=soon"], "activemq_timeout: 'soon': must be seconds"),
        (["--activemq-broker=stomp://bridge:secret@127.0.0.1:1"], "must be stomp://HOST:PORT and nothing else"),
    ],
    ids=["which", "kind", "missing", "timeout", "passcode in the URL"],
)
def test_what_cannot_be_meant_is_refused_by_name(project: pytest.Pytester, options: list[str], says: str):
    result = (
        run(project, *options, "--activemq-missing=skip") if "perhaps" not in options[0] else run(project, *options)
    )

    assert result.ret == pytest.ExitCode.USAGE_ERROR
    said = result.stdout.str() + result.stderr.str()
    assert len([line for line in said.splitlines() if says in line]) == 1
    assert "Traceback" not in said
    assert "plugin.py" not in said
    assert "secret" not in said


def test_no_container_engine_is_told_in_a_line_and_not_in_a_trace(project: pytest.Pytester, monkeypatch):
    pytest.importorskip("testcontainers")
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    result = run(project, "--activemq-broker=container")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["no broker to test against: *", "(activemq_missing = skip skips these tests*"])
    assert len(result.outlines) < 30


def test_one_that_does_not_answer_fails_the_tests(project: pytest.Pytester, there: EmbeddedBroker, monkeypatch):
    monkeypatch.setenv("MQBRIDGE_BROKER__PASSCODE", "wrong")

    result = run(project, f"--activemq-broker={there.stomp_url}", "--activemq-timeout=1")

    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*no login at {there.stomp_url} within 1 s*"])


def test_one_that_does_not_answer_can_be_a_skip(project: pytest.Pytester, there: EmbeddedBroker, monkeypatch):
    monkeypatch.setenv("MQBRIDGE_BROKER__PASSCODE", "wrong")

    options = ("--activemq-timeout=1", "--activemq-missing=skip", "-rs")
    result = run(project, f"--activemq-broker={there.stomp_url}", *options)

    result.assert_outcomes(skipped=1)
    result.stdout.fnmatch_lines(["*no broker to test against: no login at*"])


def test_queues_are_one_tests_own_and_fit_the_brokers_rules(project: pytest.Pytester):
    project.makepyfile("""
        import re
        import pytest

        seen = set()

        @pytest.mark.parametrize("what", ["a", "ä/ö [x]", "l" * 200])
        def test_names(activemq_queue, activemq_queues, what):
            assert activemq_queues("orders") == activemq_queues("orders") != activemq_queues("bills")
            assert re.fullmatch(r"[A-Za-z0-9_.-]{1,128}", activemq_queue)
            assert activemq_queue not in seen
            seen.add(activemq_queue)
            with pytest.raises(ValueError, match="characters fit here"):
                activemq_queues("q" * 128)
    """)

    run(project).assert_outcomes(passed=3)


def test_no_broker_is_started_for_tests_that_ask_for_none(project: pytest.Pytester):
    project.makepyfile("def test_nothing():\n    pass\n")

    run(project, "--activemq-broker=nonsense").assert_outcomes(passed=1)


def test_the_documents_example_runs(project: pytest.Pytester, there: EmbeddedBroker):
    text = (Path(__file__).parents[2] / "docs/testing-with-containers.md").read_text()
    (example,) = re.findall(r"```python\n# test_shout.py\n(.*?)```", text, re.DOTALL)
    project.makepyfile(example)

    run(project, f"--activemq-broker={there.stomp_url}").assert_outcomes(passed=1)


def test_the_document_names_every_option(project: pytest.Pytester):
    text = (Path(__file__).parents[2] / "docs/testing-with-containers.md").read_text()
    offered = re.findall(r"--(activemq-\w+)=", run(project, "--help").stdout.str())

    assert offered
    assert [option for option in offered if f"`--{option}`" not in text] == []
