"""One connection: requests one after the other, each answered before the next is looked at.

    head -> (bound, framing) -> handler, which may read the body -> answer -> rest of the body
    | kept: the next head; | closed at once; | lingering: the answer is out, the client still sends

What always holds: every request that was begun gets one answer, or the connection ends; the answer
goes out however much of the body is unread, and the client can read it, because the connection is
not reset under it; a body that is not read to its end, and not small, ends the connection.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

import trio

from objfs.base.limits import (
    S3_DEPARTED_SECONDS_MAX,
    S3_DRAIN_BYTES_MAX,
    S3_HEAD_SECONDS_MAX,
    S3_IDLE_SECONDS_MAX,
    S3_RETRY_SECONDS,
)
from objfs.base.ports import Clock
from objfs.s3.answers import (
    CONTINUE,
    WITHOUT_LENGTH,
    Identity,
    failed,
    head_bytes,
)
from objfs.s3.bodies import Buffers, Source, WireBody
from objfs.s3.errors import S3Error, as_s3, is_internal
from objfs.s3.heads import Head, HeadReader
from objfs.s3.http import Bytes, Handler, Request, Response, Stream
from objfs.s3.transport import Transport

logger = logging.getLogger(__name__)


class Outcome:
    """How a request ended, for the audit log and the figures."""

    __slots__ = ("bytes_received", "bytes_sent", "request", "seconds", "status")

    def __init__(self, request: Request) -> None:
        self.request = request
        self.status = 0  # 0: the client left before it was answered
        self.bytes_received = 0  # of the body
        self.bytes_sent = 0
        self.seconds = 0.0


class Surroundings(Protocol):
    """What a connection has from its server."""

    handler: Handler
    identity: Identity
    clock: Clock
    buffers: Buffers
    scratch: memoryview
    stopping: bool

    def begin(self, request: Request) -> bool:
        """Whether there is room for one more request; then it ends with `end`."""

    def end(self, outcome: Outcome, counted: bool) -> None:
        """The request ended, one that `begin` let in or not."""


class Connection:
    """A connection from its first byte to its last."""

    def __init__(self, transport: Transport, server: Surroundings, *, admitted: bool) -> None:
        self._transport = transport
        self._server = server
        self._admitted = admitted
        self._source = Source(transport.receive_into)
        self._idle: trio.CancelScope | None = None  # while it waits for a request
        self._work: trio.CancelScope | None = None  # while a handler works
        self._body: WireBody | None = None
        self._departed = False  # the peer sends nothing more

    async def run(self) -> None:
        """Serve until either side has had enough. Never raises but Cancelled."""
        try:
            while await self._serve_one():
                pass
        except OSError as error:
            logger.debug("the connection of %s broke: %s", self._transport.peer, error)
        except Exception:
            logger.exception("the connection of %s failed", self._transport.peer)
        finally:
            self._transport.close()

    def end_when_idle(self) -> None:
        """Take no further request, but one that is here already."""
        if self._idle is not None and not self._transport.arrived():
            self._idle.cancel()

    def peer_left(self, gone: bool) -> None:
        """The peer has ended its side, or (gone) both. Who only said goodbye may still wait for
        an answer that comes soon."""
        self._departed = True
        if self._work is not None and (gone or self._body is None or self._body.complete):
            within = 0 if gone else S3_DEPARTED_SECONDS_MAX
            self._work.deadline = min(self._work.deadline, trio.current_time() + within)

    # --- one request -----------------------------------------------------------------------------

    async def _serve_one(self) -> bool:
        """Whether another request may follow."""
        reader = HeadReader()
        try:
            head = await self._receive_head(reader)
        except S3Error as error:
            await self._refuse(error)
            return False
        if head is None:
            return False
        if head.leftover:
            self._source.keep(head.leftover)
        return await self._answer(head)

    async def _receive_head(self, reader: HeadReader) -> Head | None:
        """None when no further request comes. S3Error."""
        head: Head | None = None
        scope = trio.CancelScope()
        if not self._source.kept:
            scope.deadline = trio.current_time() + S3_IDLE_SECONDS_MAX
        with scope:
            self._idle = scope
            while head is None:
                if self._server.stopping and not reader.began and not self._arrived():
                    return None
                if not self._source.kept and not reader.began:
                    await self._transport.wait_readable()
                data = await self._source.receive()
                if not data:
                    return None
                began = reader.began
                head = reader.feed(data)
                if head is None and reader.began and not began:
                    self._idle = None
                    scope.deadline = trio.current_time() + S3_HEAD_SECONDS_MAX
        self._idle = None
        if head is None and reader.began:
            raise S3Error("RequestTimeout")
        return head

    def _arrived(self) -> bool:
        return bool(self._source.kept) or self._transport.arrived()

    async def _refuse(self, error: S3Error) -> None:
        """Answer what is no request."""
        identity = self._server.identity
        id = identity.new_id()
        response = failed(error, None, id, identity)
        head = head_bytes(response, id, identity, keep_alive=False)
        assert isinstance(response.body, bytes)
        await self._transport.send([head, response.body])
        await self._transport.linger(self._server.scratch)

    async def _answer(self, head: Head) -> bool:
        server = self._server
        began = server.clock.monotonic()
        request, body = self._request(head)
        outcome = Outcome(request)
        counted = self._admitted and server.begin(request)
        try:
            response = await self._handle(request, body, counted)
            keep = response is not None and await self._send(head, request, response, outcome)
        finally:
            body.release()
            outcome.bytes_received = body.received
            outcome.seconds = server.clock.monotonic() - began
            server.end(outcome, counted)
        if response is None:
            return False
        return await self._go_on(body, keep)

    def _request(self, head: Head) -> tuple[Request, WireBody]:
        server = self._server
        proceed = self._proceed if head.expects_continue and head.length != 0 else None
        body = WireBody(self._source, head.length, server.buffers, proceed)
        request = Request(
            head.method,
            head.target,
            head.headers,
            body,
            secure=self._transport.secure,
            peer=self._transport.peer,
            id=server.identity.new_id(),
            version=head.version,
            received_ns=server.clock.now_ns(),
        )
        return request, body

    async def _proceed(self) -> None:
        await self._transport.send([CONTINUE])

    async def _handle(self, request: Request, body: WireBody, counted: bool) -> Response | None:
        """What the handler answers, or what is answered for it; None when the client left."""
        with trio.CancelScope() as scope:
            self._work, self._body = scope, body
            if self._departed:
                self.peer_left(False)
            try:
                if not counted:
                    raise slow_down()
                return await self._server.handler(request)
            except Exception as error:
                return self._failed(error, request)
            finally:
                self._work = None
        request.notes.error = "ClientLeft"
        return None

    def _failed(self, error: Exception, request: Request) -> Response:
        error = _only(error)
        if is_internal(error):
            logger.error("request %s failed", request.id, exc_info=error)
        answer = as_s3(error)
        request.notes.error = answer.code
        return failed(answer, request, request.id, self._server.identity)

    # --- the answer ------------------------------------------------------------------------------

    async def _send(
        self, head: Head, request: Request, response: Response, outcome: Outcome
    ) -> bool:
        """Send the answer. Whether the connection may be kept. OSError."""
        body = response.body
        if request.method == "HEAD" or response.status in WITHOUT_LENGTH:
            return await self._send_whole(head, request, response, (), outcome)
        if not isinstance(body, Stream):
            return await self._send_whole(head, request, response, _pieces(body), outcome)
        pieces = aiter(body.pieces)
        try:
            try:
                first = await anext(pieces, ()) if body.length else ()
            except Exception as error:  # nothing is sent yet: it can still be said
                response = self._failed(error, request)
                return await self._send(head, request, response, outcome)
            keep = await self._send_whole(head, request, response, _pieces(first), outcome)
            await self._send_rest(pieces, body.length, outcome)
        except Exception:
            request.notes.error = request.notes.error or "InternalError"
            raise
        finally:
            await _close(pieces)
        return keep

    async def _send_whole(
        self,
        head: Head,
        request: Request,
        response: Response,
        pieces: Sequence[Bytes],
        outcome: Outcome,
    ) -> bool:
        """Send the head and, in the same system call, what there is of the body."""
        server = self._server
        keep = head.keep_alive and self._may_keep(response)
        top = head_bytes(response, request.id, server.identity, keep_alive=keep)
        outcome.status = response.status
        await self._transport.send([top, *pieces])
        outcome.bytes_sent = sum(len(piece) for piece in pieces)
        return keep

    async def _send_rest(
        self, pieces: AsyncIterator[Bytes | Sequence[Bytes]], length: int, outcome: Outcome
    ) -> None:
        """The pieces after the first. Who makes fewer bytes than were declared, or more, has the
        connection broken: the client must not take them for the whole."""
        while outcome.bytes_sent < length:
            piece = _pieces(await anext(pieces, ()))
            size = sum(len(each) for each in piece)
            if not size or outcome.bytes_sent + size > length:
                raise RuntimeError(f"{length} bytes were declared, not as many were made")
            await self._transport.send(piece)
            outcome.bytes_sent += size
        assert outcome.bytes_sent == length, (outcome.bytes_sent, length)

    def _may_keep(self, response: Response) -> bool:
        body = self._body
        assert body is not None
        left = body.left_max
        small = left is not None and left <= S3_DRAIN_BYTES_MAX
        awaited = body.is_awaited and not body.complete
        allowed = self._admitted and not response.close and not self._server.stopping
        return small and not awaited and allowed

    async def _go_on(self, body: WireBody, keep: bool) -> bool:
        """After an answer: whether the next request can be read."""
        if keep:
            if body.complete:
                return True
            try:
                await body.discard(self._server.scratch)
            except S3Error:
                return False
            return True
        if not body.complete or self._source.kept:
            await self._transport.linger(self._server.scratch)
        return False


def slow_down() -> S3Error:
    """There is too much to do."""
    return S3Error("SlowDown", headers=(("Retry-After", str(S3_RETRY_SECONDS)),))


def _only(error: Exception) -> Exception:
    """What a nursery of the handler may have wrapped: the one error in groups of one."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _pieces(body: Bytes | Sequence[Bytes]) -> Sequence[Bytes]:
    return [body] if isinstance(body, bytes | bytearray | memoryview) else body


async def _close(pieces: AsyncIterator[Bytes | Sequence[Bytes]]) -> None:
    """Let who makes the pieces clean up, however far it came."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()
