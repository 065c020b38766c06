"""A door as users have it: a volume that runs, a server on 127.0.0.1, users with keys, boto3 as the
client. Clients block, so they run in threads."""

import contextlib
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import boto3
import pytest
import trio
from botocore.config import Config
from botocore.exceptions import ClientError

from objfs.auth.secrets import new_store_keys
from objfs.base.fetching import HttpsFetch
from objfs.base.system import SystemClock, SystemRandomness, TrioThreads
from objfs.s3.calls import DoorSettings
from objfs.s3.door import Door
from objfs.volume.volume import Volume
from tests.model.harness import Harness
from tests.s3.conftest import Running, serving

T = TypeVar("T")
REGION = "us-east-1"
STORE_KEYS = new_store_keys(SystemRandomness())
ALLOW_ALL = (
    '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}'
)


class RunningHarness(Harness):
    """A store on a clock that goes."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, segment_bytes=1 << 20)
        self.clock: Any = SystemClock()
        self.randomness: Any = SystemRandomness()
        self.threads: Any = TrioThreads()


class OnLoop:
    """The verbs of identities, called from a client's thread; `roles.who.policies.attach(...)`."""

    def __init__(self, of: Any) -> None:
        self._of = of

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._of, name)
        if name in {"principals", "policies", "providers"}:
            return OnLoop(found)
        if not callable(found):
            return found
        return lambda *given, **named: trio.from_thread.run_sync(partial(found, *given, **named))


class Key(NamedTuple):
    """What a client signs with."""

    id: str
    secret: str
    token: str | None = None

    @classmethod
    def of(cls, credentials: dict[str, Any]) -> "Key":
        """What STS answers."""
        return cls(
            credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]
        )


class Served:
    """The door and what is behind it."""

    def __init__(
        self,
        volume: Volume,
        running: Running,
        operations: frozenset[str],
        certificate: Path | None = None,
    ) -> None:
        self.operations = operations
        self.volume = volume
        self.running = running
        scheme = "http" if certificate is None else "https"
        self.url = f"{scheme}://127.0.0.1:{running.port}"
        self.certificate = certificate
        self.root = self.user("root", ALLOW_ALL)

    def user(self, name: str, policy: str | None = None) -> Key:
        """A new user, with that policy of its own."""
        identities = self.volume.identities
        identities.principals.create_user(name)
        if policy is not None:
            identities.policies.put_inline("user", name, "own", policy)
        made = identities.keys.create(name)
        return Key(made.row.id, made.secret)

    @property
    def who(self) -> OnLoop:
        """The verbs of identities, for clients."""
        return OnLoop(self.volume.identities)

    def new_user(self, name: str, policy: str | None = None) -> Key:
        """`user`, for clients."""
        return trio.from_thread.run_sync(self.user, name, policy)

    def client(self, key: Key | None = None, service: str = "s3", **config: Any) -> Any:
        """boto3's client; without retries, so that each error is seen."""
        chosen = key or self.root
        return boto3.client(
            service,
            endpoint_url=self.url,
            verify=None if self.certificate is None else str(self.certificate),
            region_name=REGION,
            aws_access_key_id=chosen.id,
            aws_secret_access_key=chosen.secret,
            aws_session_token=chosen.token,
            config=Config(
                retries={"total_max_attempts": 1}, s3={"addressing_style": "path"}, **config
            ),
        )

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run what blocks in a thread, while the server serves."""
        return await TrioThreads().run(work, *arguments)

    @property
    def codes(self) -> list[tuple[int, str | None]]:
        """Status and error code of each answer so far."""
        return [
            (outcome.status, outcome.request.notes.error if outcome.request else None)
            for outcome in self.running.outcomes
        ]


def refused(call: Any, **arguments: Any) -> tuple[str, int]:
    """Code and status of the error that a call gets."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    answer = caught.value.response
    return answer["Error"]["Code"], answer["ResponseMetadata"]["HTTPStatusCode"]


@contextlib.asynccontextmanager
async def served(
    directory: Path, certificate: Path | None = None, **settings: Any
) -> AsyncIterator[Served]:
    """A door on a new store; no answer of it may have been an internal error."""
    harness = RunningHarness(directory)
    volume = harness.open()
    volume.identities.use(lambda: STORE_KEYS, harness.randomness)
    door = Door(
        volume,
        harness.clock,
        DoorSettings(REGION, **settings),
        threads=harness.threads,
        fetch=HttpsFetch(harness.clock, harness.threads),
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(volume.run)
        async with serving(door, certificate) as running:
            all_of_it = Served(volume, running, door.operations, certificate)
            yield all_of_it
        nursery.cancel_scope.cancel()
    await harness.close()
    assert not [each for each in all_of_it.codes if each[0] == 500]
