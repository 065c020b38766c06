"""`objfs serve`: a store's doors without a mount."""

import logging
import os
import signal
import sys
from pathlib import Path

import click
import trio

from objfs.base.heap import freeze_program, keep_heap
from objfs.base.limits import INTERPRETER_SWITCH_SECONDS
from objfs.cli.access import run
from objfs.cli.daemon import log_to_stderr, name_process
from objfs.cli.opening import construct, take_lock
from objfs.cli.owning import own
from objfs.cli.s3_options import S3Plan, bind_s3, s3_options, s3_plan
from objfs.cli.store_directory import StoreDirectory, read_store
from objfs.s3.listening import Address
from objfs.s3.service import Service
from objfs.volume.volume import Volume

logger = logging.getLogger(__name__)


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@s3_options(required=True)
def serve(
    store: Path,
    address: Address,
    tls_cert: Path | None,
    tls_key: Path | None,
    domains: tuple[str, ...],
    region: str,
    public_metrics: bool,
) -> None:
    """Serve the buckets of STORE over S3, without mounting it.

    Stays in the foreground and logs to standard error. Prints one line when clients can connect.
    SIGTERM and SIGINT end it: requests under way are answered first.
    """
    plan = s3_plan(address, tls_cert, tls_key, domains, region, public_metrics)
    assert plan is not None
    directory = read_store(store)
    log_to_stderr()
    name_process()
    sys.setswitchinterval(INTERPRETER_SWITCH_SECONDS)
    keep_heap()
    freeze_program()
    serve_store(directory, plan)


def serve_store(directory: StoreDirectory, plan: S3Plan) -> None:
    """Serve until a signal. StoreError."""
    with take_lock(directory):
        bound = bind_s3(plan)
        try:
            volume = construct(directory)
            run(lambda: _serve(directory, volume, bound.service(directory, volume)))
        finally:
            bound.close()


async def _serve(directory: StoreDirectory, volume: Volume, service: Service) -> None:
    about: dict[str, object] = {
        "mountpoint": None,
        "source": os.fsdecode(directory.path),
        "read_only": False,
        "s3": service.url,
    }

    async def until_a_signal() -> None:
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
            click.echo(f"serving S3 at {service.url}")
            sys.stdout.flush()
            async for number in signals:
                logger.info("stopping: %s", signal.Signals(number).name)
                return

    await own(directory, volume, about, service, until_a_signal)
