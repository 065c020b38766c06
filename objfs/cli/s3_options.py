"""What `serve` and `mount` are told about the S3 door, and the door made of it.

The address is bound and the certificate read before the store is opened: what is wrong with them is
said at once.
"""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import click

from objfs.base.errors import InvalidRequest
from objfs.base.fetching import HttpsFetch
from objfs.base.system import SystemRandomness, TrioThreads
from objfs.cli.clock import command_clock
from objfs.cli.store_directory import StoreDirectory
from objfs.s3.calls import REGION, DoorSettings
from objfs.s3.listening import Address, Certificate, bind, parse_address
from objfs.s3.service import Service
from objfs.volume.volume import Volume

F = TypeVar("F", bound=Callable[..., Any])


class S3Plan(NamedTuple):
    """Where and how to serve S3."""

    address: Address
    certificate: Path | None
    key: Path | None
    settings: DoorSettings


class BoundS3(NamedTuple):
    """A plan whose address is taken and whose certificate is read."""

    sockets: list[socket.socket]
    tls: Certificate | None
    settings: DoorSettings

    def service(self, directory: StoreDirectory, volume: Volume) -> Service:
        """The service of an open volume."""
        directory.log.mkdir(mode=0o700, exist_ok=True)
        clock, threads = command_clock(), TrioThreads()
        return Service(
            volume,
            self.sockets,
            self.settings,
            tls=self.tls,
            log_directory=directory.log,
            clock=clock,
            randomness=SystemRandomness(),
            threads=threads,
            fetch=HttpsFetch(clock, threads),
        )

    def close(self) -> None:
        """Give the address up."""
        for each in self.sockets:
            each.close()


def bind_s3(plan: S3Plan) -> BoundS3:
    """Take the address. ListenError."""
    tls = None if plan.certificate is None else Certificate(plan.certificate, plan.key)
    return BoundS3(bind(plan.address), tls, plan.settings)


class _AddressType(click.ParamType[Address]):
    name = "address"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Address:
        try:
            return parse_address(str(value))
        except InvalidRequest as error:
            self.fail(str(error), param, ctx)


def s3_options(*, required: bool) -> Callable[[F], F]:
    """The options of a command that serves S3; what they say comes as the argument `s3`, an S3Plan
    or None."""
    file = click.Path(path_type=Path)
    options = [
        click.option(
            "--s3",
            "address",
            type=_AddressType(),
            metavar="HOST:PORT",
            required=required,
            help="Serve S3 there; :PORT is every address of this machine, port 0 a free one.",
        ),
        click.option("--tls-cert", type=file, help="Serve HTTPS with this certificate (PEM)."),
        click.option("--tls-key", type=file, help="Its key, if that is in a file of its own."),
        click.option(
            "--domain", "domains", multiple=True, help="BUCKET.DOMAIN is a bucket's address too."
        ),
        click.option("--region", default=REGION, show_default=True, help="The region of S3."),
        click.option(
            "--public-metrics", is_flag=True, help="Show /.objfs/metrics to other machines too."
        ),
    ]

    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def s3_plan(
    address: Address | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    domains: tuple[str, ...],
    region: str,
    public_metrics: bool,
) -> S3Plan | None:
    """The plan of `s3_options`; None without an address. click.UsageError."""
    if address is None:
        if tls_cert or tls_key or domains or public_metrics:
            raise click.UsageError("the options of S3 go with --s3 HOST:PORT")
        return None
    if tls_key is not None and tls_cert is None:
        raise click.UsageError("--tls-key goes with --tls-cert")
    settings = DoorSettings(region, tuple(domains), public_metrics)
    return S3Plan(address, tls_cert, tls_key, settings)
