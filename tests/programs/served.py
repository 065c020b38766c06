"""The S3 door of a real process, `objfs serve` or `objfs mount --s3`, and what clients need to know
about it."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import boto3
from botocore.config import Config

from tests.programs.drive import OBJFS, SECONDS_MAX, Drive

READY = "serving S3 at "
REGION = "us-east-1"


class Account(NamedTuple):
    """What a client signs with."""

    key: str
    secret: str


class Door(NamedTuple):
    """Where S3 is served, and for whom."""

    url: str
    account: Account
    authority: Path | None  # what to trust, for https

    @property
    def place(self) -> str:
        """HOST:PORT."""
        return self.url.partition("://")[2]

    @property
    def secure(self) -> bool:
        return self.url.startswith("https:")

    def client(self, **config: Any) -> Any:
        """boto3's client; without retries, so that each error is seen."""
        made = {
            "retries": {"total_max_attempts": 1},
            "s3": {"addressing_style": "path"},
            "signature_version": "s3v4",  # else presigned URLs have the version before it
        }
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=self.account.key,
            aws_secret_access_key=self.account.secret,
            verify=None if self.authority is None else str(self.authority),
            config=Config(**{**made, **config}),
        )

    def environment(self, home: Path) -> dict[str, str]:
        """For clients that read AWS's variables; nothing of this user's own settings is seen."""
        kept = {name: os.environ[name] for name in ("PATH", "TMPDIR") if name in os.environ}
        trusted = {} if self.authority is None else {"AWS_CA_BUNDLE": str(self.authority)}
        return {
            **kept,
            **trusted,
            "LC_ALL": "C.UTF-8",
            "HOME": str(home),
            "AWS_ACCESS_KEY_ID": self.account.key,
            "AWS_SECRET_ACCESS_KEY": self.account.secret,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.url,
            "AWS_EC2_METADATA_DISABLED": "true",
        }


def make_account(drive: Drive, name: str = "root") -> Account:
    """The first user of a store is its administrator."""
    made = drive.json("user", "create", drive.store, name)
    return Account(made["access_key_id"], made["secret_access_key"])


def mounted_door(drive: Drive, account: Account) -> Door:
    """The door of a drive that was mounted with `--s3`."""
    return Door(drive.json("status", drive.store)["owner"]["s3"], account, None)


@contextmanager
def serving(
    drive: Drive, account: Account, *options: str | Path, authority: Path | None = None
) -> Iterator[tuple[Door, "subprocess.Popen[str]"]]:
    """`objfs serve` in a process of its own, ended with SIGTERM unless it has ended before."""
    command = [OBJFS, "serve", drive.store, "--s3", "127.0.0.1:0", *options]
    with (
        (drive.store.parent / "serve.log").open("a+") as said,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            said.seek(0)
            assert line.startswith(READY), said.read()
            yield Door(line.removeprefix(READY).strip(), account, authority), process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(SECONDS_MAX)
            finally:
                process.kill()


def client_run(environment: dict[str, str], *command: str | Path, cwd: Path | None = None) -> str:
    """Run a client to its end; what it printed, with its errors. Fails with that."""
    done = subprocess.run(
        [str(word) for word in command],
        env=environment,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=SECONDS_MAX,
        check=False,
    )
    output = done.stdout.decode(errors="replace")
    assert done.returncode == 0, f"{command} exited with {done.returncode}: {output}"
    return output
