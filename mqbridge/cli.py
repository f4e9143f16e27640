"""The command line: options and help. What the commands do is in `mqbridge.commands`.

A command imports what it needs when it runs: `--help` should not wait for an HTTP server to load.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated

import typer

from mqbridge import __version__, cli_calls, cli_dlq, cli_jobs, cli_key
from mqbridge.console import CommandError, log_to_stderr, say
from mqbridge.examples import examples
from mqbridge.helping import make_app
from mqbridge.options import DEFAULT_URL, AdminKeyFile, AsJson, LogLevel, Url

app = make_app(
    name="mqbridge",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="HTTP in, ActiveMQ in the middle, idle workers out.",
    epilog="Exit codes: 0 done, 1 failed, 2 refused (the configuration or the command line is wrong).",
)


Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The settings, a TOML file; else /etc/mqbridge/bridge.toml.",
        dir_okay=False,
        envvar="MQBRIDGE_CONFIG",
        show_default=False,
    ),
]
Broker = Annotated[
    list[str],
    typer.Option("--broker", "-b", help="stomp://HOST:PORT or stomp+ssl://…; several: failover in this order."),
]
Login = Annotated[str | None, typer.Option(help="The broker's login; else MQBRIDGE_BROKER__LOGIN.", show_default=False)]
PasscodeFile = Annotated[
    Path | None,
    typer.Option(help="A file with the passcode; else MQBRIDGE_BROKER__PASSCODE.", dir_okay=False, show_default=False),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(
        help="The authority of a stomp+ssl broker's certificate, PEM; else those the system trusts.",
        dir_okay=False,
        envvar="MQBRIDGE_BROKER__TLS_CA",
        show_default=False,
    ),
]
TlsCertificate = Annotated[
    Path | None,
    typer.Option(
        help="Our own certificate, PEM, for a broker that asks for one.",
        dir_okay=False,
        envvar="MQBRIDGE_BROKER__TLS_CERTIFICATE",
        show_default=False,
    ),
]
TlsKey = Annotated[
    Path | None,
    typer.Option(
        help="Its private key, PEM, without a password.",
        dir_okay=False,
        envvar="MQBRIDGE_BROKER__TLS_KEY",
        show_default=False,
    ),
]
Concurrency = Annotated[int, typer.Option("--concurrency", "-n", help="Idle slots for each queue.", min=1, max=1_000)]
Vhost = Annotated[str, typer.Option(help="The virtual host, on RabbitMQ.")]
Declare = Annotated[
    bool, typer.Option("--declare/--no-declare", help="Declare queues, or take those that are there, on RabbitMQ.")
]
HealthFile = Annotated[
    Path | None,
    typer.Option(
        help="A file to write each second whether it is ready.",
        dir_okay=False,
        envvar="MQBRIDGE_HEALTH_FILE",
        show_default=False,
    ),
]
Heartbeat = Annotated[
    float, typer.Option(help="Seconds between signs of life, ours to the broker and its to us.", min=0.1, max=3_600)
]
HungAfter = Annotated[
    float,
    typer.Option(
        help="Seconds after the end of a call's time, or without a turn of the loop, until the worker has hung and "
        "ends (exit code 70); 0: never.",
        min=0.0,
        envvar="MQBRIDGE_HUNG_AFTER",
    ),
]
Longest = Annotated[
    float | None,
    typer.Option(
        help="Seconds that a handler may take at most, if its call has longer.",
        min=0.1,
        envvar="MQBRIDGE_LONGEST",
        show_default=False,
    ),
]
DEFAULT_BROKER = ["stomp://127.0.0.1:61613"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mqbridge {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    """Read the options that stand before the command."""


@app.command(epilog=examples("mqbridge serve --config bridge.toml", "mqbridge serve --processes 4"))
def serve(
    config: Config = None,
    processes: Annotated[int, typer.Option(help="How many processes share the addresses.", min=1, max=256)] = 1,
    place: Annotated[str | None, typer.Option(hidden=True, help="This process's place among them.")] = None,
    log_level: Annotated[
        str | None,
        typer.Option(
            help="debug, info, warning or error; else what the settings say.",
            envvar="MQBRIDGE_LOG_LEVEL",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the bridge."""
    from mqbridge.commands import serve as bridge
    from mqbridge.environment import config_file

    log_to_stderr(log_level or "info")
    settings = config_file(config)
    if place is None and processes > 1:
        sys.exit(bridge.serve_many(settings, processes, log_level))
    sys.exit(bridge.serve(settings, log_level, None if place is None else bridge.place_of(place)))


@app.command(epilog=examples("mqbridge check --config bridge.toml --json"))
def check(
    config: Config = None,
    as_json: AsJson = False,
    log_level: LogLevel = "error",
) -> None:
    """Say whether a call could be served now, and what is wrong if not."""
    from mqbridge.commands.check import check as look
    from mqbridge.environment import config_file

    log_to_stderr(log_level)
    sys.exit(asyncio.run(look(config_file(config), as_json=as_json)))


@app.command(epilog=examples("mqbridge openapi --config bridge.toml > openapi.json"))
def openapi(config: Config = None) -> None:
    """Print the OpenAPI document of the routes."""
    from mqbridge.commands.openapi import print_document
    from mqbridge.environment import config_file

    print_document(config_file(config))


@app.command(epilog=examples("mqbridge broker --data var/broker"))
def broker(
    kind: Annotated[
        str | None, typer.Option(help="Which broker: classic (the default) or artemis.", show_default=False)
    ] = None,
    stomp_port: Annotated[int, typer.Option(help="0: any free one.", min=0, max=65535)] = 61613,
    openwire_port: Annotated[int, typer.Option(help="For JMS clients; 0: any free one.", min=0, max=65535)] = 61616,
    data: Annotated[Path, typer.Option(help="Its folder: messages, log, passcode.", file_okay=False)] = Path(
        "var/broker"
    ),
    login: Annotated[str, typer.Option(help="The login of bridge and workers.")] = "bridge",
    passcode_file: Annotated[
        Path | None, typer.Option(help="A file with the passcode; else one is made in DATA/passcode.", dir_okay=False)
    ] = None,
    ha: Annotated[
        str | None,
        typer.Option(
            help="Two brokers, one standing in for the other: shared-file, shared-jdbc or artemis-zookeeper. "
            "The second has the next port.",
            show_default=False,
        ),
    ] = None,
    database: Annotated[
        str | None, typer.Option(help="For shared-jdbc: jdbc:mariadb://HOST:PORT/NAME.", show_default=False)
    ] = None,
    database_user: Annotated[str, typer.Option(help="Its user.")] = "activemq",
    database_password_file: Annotated[
        Path | None, typer.Option(help="A file with that user's password.", dir_okay=False, show_default=False)
    ] = None,
    worker_queue: Annotated[
        list[str] | None,
        typer.Option(
            help="What the login `worker` may use: a queue, or PREFIX.>; may be given often. Else all.",
            show_default=False,
        ),
    ] = None,
    log_level: LogLevel = "warning",
) -> None:
    """Run a real ActiveMQ on this machine's loopback; it is fetched the first time."""
    from mqbridge.commands.broker import run_broker

    log_to_stderr(log_level)
    if ha is not None:
        from mqbridge.commands.pair import database_of, run_pair

        if kind is not None or login != "bridge":
            raise CommandError("--ha says which kind it is, and its login is bridge: leave out --kind and --login", 2)
        where = database_of(database, database_user, database_password_file)
        sys.exit(asyncio.run(run_pair(ha, data, stomp_port, openwire_port, passcode_file, where)))
    if database is not None:
        raise CommandError("--database is for --ha shared-jdbc", 2)
    kind = kind or "classic"
    queues = worker_queue or [">"]
    sys.exit(asyncio.run(run_broker(kind, data, stomp_port, openwire_port, login, passcode_file, queues)))


@app.command("broker-files", epilog=examples("mqbridge broker-files classic broker --queue orders --queue 'images.>'"))
def broker_files(
    kind: Annotated[str, typer.Argument(help="Which broker: classic, artemis or rabbitmq.")],
    folder: Annotated[Path, typer.Argument(help="Where to write them.", file_okay=False)],
    queue: Annotated[list[str], typer.Option(help="A queue of the workers', or PREFIX.>; may be given often.")],
    address: Annotated[str, typer.Option(help="Where it will listen.")] = "0.0.0.0",
    vhost: Vhost = "/",
    passcodes: Annotated[
        bool, typer.Option("--passcodes/--no-passcodes", help="Make passcodes, or leave places for them.")
    ] = True,
) -> None:
    """Write the configuration for a broker of yours: users with least rights, limits, no console."""
    from mqbridge.commands.broker_files import write_broker_files

    write_broker_files(kind, folder, queue, address=address, vhost=vhost, passcodes=passcodes)


@app.command(
    epilog=examples(
        "mqbridge work hello:worker --login bridge --passcode-file var/broker/passcode --reload",
        "mqbridge work --asgi app:app --queue words",
        "mqbridge work hello:worker --http :8080",
    )
)
def work(
    worker: Annotated[str | None, typer.Argument(help="MODULE:NAME of a consumers.Worker.", show_default=False)] = None,
    asgi: Annotated[
        str | None, typer.Option(help="MODULE:APP of an ASGI app to serve instead.", show_default=False)
    ] = None,
    queue: Annotated[str | None, typer.Option(help="The queue for --asgi.", show_default=False)] = None,
    broker: Broker = DEFAULT_BROKER,
    login: Login = None,
    passcode_file: PasscodeFile = None,
    vhost: Vhost = "/",
    declare: Declare = True,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    heartbeat: Heartbeat = 10.0,
    concurrency: Concurrency = 1,
    health_file: HealthFile = None,
    hung_after: HungAfter = 30.0,
    longest: Longest = None,
    processes: Annotated[
        int | None,
        typer.Option(
            help="Run so many workers, and above them a process that starts again what ends.",
            min=1,
            max=256,
            show_default=False,
        ),
    ] = None,
    reload: Annotated[bool, typer.Option("--reload", help="Start again when a Python file here changes.")] = False,
    http: Annotated[
        str | None,
        typer.Option(help="Serve it at HOST:PORT, without bridge and broker; :PORT is loopback.", show_default=False),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="With --http: a bridge's file with its routes.", dir_okay=False),
    ] = None,
    allow_anonymous: Annotated[
        bool, typer.Option("--allow-anonymous", help="With --http: let anybody call who can reach it.")
    ] = False,
    log_level: LogLevel = "info",
) -> None:
    """Run a worker: take messages, run its handlers, reply."""
    from mqbridge import lifetime
    from mqbridge.commands import work as workers
    from mqbridge.environment import credentials

    log_to_stderr(log_level)
    if bool(worker) == bool(asgi) or bool(asgi) != bool(queue):
        raise CommandError("give either MODULE:NAME, or --asgi MODULE:APP with --queue QUEUE", 2)
    if http is None and (config or allow_anonymous):
        raise CommandError("--config and --allow-anonymous are for --http", 2)
    if http is not None and (broker != DEFAULT_BROKER or login or passcode_file):
        raise CommandError("--http needs no broker: leave out --broker, --login and --passcode-file", 2)
    if processes is not None and (reload or http or health_file):
        raise CommandError("--processes goes with none of --reload, --http and --health-file", 2)
    servers = workers.parse_servers(broker, tls_ca, tls_certificate, tls_key)
    who = credentials(login, passcode_file, vhost)
    if processes is not None:
        from mqbridge.commands.work_many import work_many

        sys.exit(work_many(sys.argv[1:], processes))
    if reload:
        from mqbridge.commands.reload import rerun_on_change

        sys.exit(rerun_on_change(sys.argv[1:]))
    found = workers.find_asgi_worker(asgi, queue) if asgi and queue else workers.find_worker(worker or "")
    if http is not None:
        from mqbridge.commands import direct

        if health_file is not None:
            raise CommandError("--health-file is for a worker at a broker; with --http ask /-/live", 2)
        settings = direct.direct_settings(found, http, config, allow_anonymous=allow_anonymous)
        sys.exit(direct.serve_worker(found, settings, concurrency))
    sys.exit(
        lifetime.run(
            workers.run_worker(
                found,
                servers,
                who,
                concurrency,
                health_file,
                declare=declare,
                heartbeat=heartbeat,
                patience=workers.patience(hung_after, longest),
            )
        )
    )


@app.command(epilog=examples("mqbridge forward --queue orders http://127.0.0.1:9000"))
def forward(
    url: Annotated[str, typer.Argument(help="The HTTP service's base URL.")],
    queue: Annotated[str, typer.Option(help="The queue to take from.")],
    broker: Broker = DEFAULT_BROKER,
    login: Login = None,
    passcode_file: PasscodeFile = None,
    vhost: Vhost = "/",
    declare: Declare = True,
    tls_ca: TlsCa = None,
    tls_certificate: TlsCertificate = None,
    tls_key: TlsKey = None,
    heartbeat: Heartbeat = 10.0,
    concurrency: Concurrency = 1,
    health_file: HealthFile = None,
    hung_after: HungAfter = 30.0,
    longest: Longest = None,
    log_level: LogLevel = "info",
) -> None:
    """Run a worker that hands each message to an HTTP service."""
    from mqbridge import lifetime
    from mqbridge.commands import work as workers
    from mqbridge.environment import credentials

    log_to_stderr(log_level)
    servers = workers.parse_servers(broker, tls_ca, tls_certificate, tls_key)
    who = credentials(login, passcode_file, vhost)
    found = workers.make_forward_worker(queue, url, concurrency)
    sys.exit(
        lifetime.run(
            workers.run_worker(
                found,
                servers,
                who,
                concurrency,
                health_file,
                declare=declare,
                heartbeat=heartbeat,
                patience=workers.patience(hung_after, longest),
            )
        )
    )


@app.command(epilog=examples("MQBRIDGE_ADMIN_KEY=… mqbridge top --url http://127.0.0.1:8080"))
def top(
    url: Url = DEFAULT_URL,
    admin_key_file: AdminKeyFile = None,
    every: Annotated[float, typer.Option(help="Seconds between two looks.", min=0.1, max=3_600)] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Look once, then stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print what the bridge says, a line of JSON a look.")] = False,
) -> None:
    """Show what a bridge holds, and who works for it."""
    from mqbridge.commands.top import watch
    from mqbridge.environment import admin_key

    sys.exit(watch(url, admin_key(admin_key_file), every=every, once=once, as_json=as_json))


app.command(epilog=examples(*cli_calls.SEND_EXAMPLES))(cli_calls.send)
app.command(epilog=examples(*cli_calls.BENCH_EXAMPLES))(cli_calls.bench)
app.add_typer(cli_jobs.app, name="jobs")
app.add_typer(cli_dlq.app, name="dlq")
app.add_typer(cli_key.app, name="key")


@app.command(epilog=examples("mqbridge demo --once"))
def demo(
    once: Annotated[
        bool, typer.Option("--once", help="Send the requests, then stop; exit code 1 if one fails.")
    ] = False,
    port: Annotated[
        int, typer.Option(help="The bridge's port; if it is taken, any free one.", min=0, max=65535)
    ] = 8080,
    log_level: LogLevel = "warning",
) -> None:
    """Start a broker, a bridge and workers here, and send real requests through them."""
    from mqbridge.commands.demo import run_demo
    from mqbridge.lifetime import without_threads

    log_to_stderr(log_level)
    without_threads()
    sys.exit(asyncio.run(run_demo(once=once, port=port)))


def main() -> None:
    """Run the command line; never shows a trace for what is not a defect."""
    try:
        app()
    except CommandError as error:
        say(str(error))
        sys.exit(error.code)
    except KeyboardInterrupt:
        sys.exit(130)
