"""What the operations share: the volume, who may, and the settings of the door."""

from objfs.auth.acl import Acl, acl_of_headers, decode_acl, private_acl
from objfs.auth.ownership import check_policy
from objfs.auth.policy_document import parse_bucket_policy
from objfs.auth.policy_public import is_public
from objfs.s3.authorization import ACL, Authorization
from objfs.s3.calls import Call, DoorSettings
from objfs.s3.documents.locking import LockConfiguration
from objfs.s3.documents.stored import load
from objfs.volume.buckets import Bucket
from objfs.volume.object_types import ObjectInfo
from objfs.volume.volume import Volume

LOCK = "lock"


class Room:
    """One for a door."""

    def __init__(self, volume: Volume, settings: DoorSettings) -> None:
        self.volume = volume
        self.account = volume.identities.account
        self.settings = settings
        self.authorization = Authorization(volume, self.account, settings.region)

    # --- buckets ---------------------------------------------------------------------------------

    async def set_document(self, bucket: str, document: str, value: bytes | None) -> None:
        """Keep a document of a bucket; durable when it returns."""
        self.volume.set_document(bucket, document, value)
        await self.durable()

    async def durable(self) -> None:
        """Return when everything that was done is on the device."""
        await self.volume.core.log.sync()

    def stored_acl(self, bucket: Bucket) -> Acl:
        """The list of a bucket, whether lists count there or not."""
        stored = bucket.policy.get(ACL)
        owner = self.authorization.owner(bucket)
        return private_acl(owner) if stored is None else decode_acl(stored)

    def check_policy(self, bucket: Bucket, text: bytes) -> None:
        """Whether a bucket may get that policy. MalformedPolicy, AccessDenied."""
        policy = parse_bucket_policy(text, bucket.name)
        check_policy(policy, self.authorization.public_access(bucket))

    def is_public(self, bucket: Bucket) -> bool:
        """Whether the policy of a bucket is."""
        policy = self.authorization.policy(bucket)
        return policy is not None and is_public(policy)

    def lock_configuration(self, bucket: Bucket) -> LockConfiguration | None:
        """What object lock gives to new versions; None: the bucket has no object lock."""
        if not bucket.lock:
            return None
        stored = bucket.policy.get(LOCK)
        return LockConfiguration() if stored is None else load(LockConfiguration, stored)

    # --- who -------------------------------------------------------------------------------------

    def canonical(self, call: Call, bucket: Bucket) -> str:
        """The owner of what a caller makes; what nobody makes is the bucket owner's."""
        identity = call.caller.identity
        return self.authorization.owner(bucket) if identity is None else identity.canonical

    def asked_acl(self, call: Call, owner: str, bucket_owner: str) -> Acl | None:
        """The list that the headers of a call ask for. AclRefused, InvalidRequest."""
        headers = {name: value for name, value in call.headers if name.startswith("x-amz-")}
        return acl_of_headers(headers, owner, bucket_owner)


def version_headers(bucket: Bucket, info: ObjectInfo) -> list[tuple[str, str]]:
    """Which version an answer is about; buckets without versions say nothing."""
    if bucket.versioning == "off":
        return []
    return [("x-amz-version-id", info.version_id)]


def quoted(etag: str) -> str:
    """An ETag as headers have it."""
    return f'"{etag}"'


def query_of(call: Call) -> dict[str, str]:
    """The first value of each query parameter."""
    found: dict[str, str] = {}
    for pair in call.request.query:
        found.setdefault(pair.name, pair.value)
    return found
