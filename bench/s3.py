"""objfs's S3 door beside rclone's and moto's S3 servers on the same disk: `scripts/bench s3`.

The client is the same for all (`bench/s3_client.py`), and so is the work. docs/PERFORMANCE.md says
who syncs.
"""

import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import machine
from bench.__main__ import chosen
from bench.run import workspace
from bench.s3_client import Connection, Endpoint, in_parallel, text_of
from bench.s3_servers import SERVERS
from bench.sizes import GIB, KIB, MIB
from bench.table import number

BUCKET = "bench"
MANY = 16
_PIECE = memoryview(os.urandom(MIB))
_PART_BYTES = 64 * MIB


@dataclass(frozen=True)
class Amounts:
    """How much work a run does."""

    small: int = 3_000  # objects of 4 KiB
    medium: int = 400  # of 1 MiB
    large_bytes: int = GIB
    crowd_bytes: int = 256 * MIB  # of each of the objects that many connections move at once
    listed: int = 100_000


QUICK = Amounts(300, 40, 128 * MIB, 16 * MIB, 3_000)


class Server:
    """One server, and what its rows leave for later ones."""

    def __init__(self, endpoint: Endpoint, amounts: Amounts) -> None:
        self._endpoint = endpoint
        self._amounts = amounts
        self._ask("PUT", f"/{BUCKET}")

    def puts(self, size: int, count: int, connections: int) -> float:
        """Objects a second for small ones, else MiB a second."""
        return self._moved("PUT", size, count, connections)

    def gets(self, size: int, count: int, connections: int) -> float:
        """The same for reading what `puts` made."""
        return self._moved("GET", size, count, connections)

    def _moved(self, method: str, size: int, count: int, connections: int) -> float:
        length = size if method == "PUT" else 0
        heads = [
            self._endpoint.head(method, f"/{BUCKET}/{size}/{connections}/{index:06}", length)
            for index in range(count)
        ]
        body, times = (_PIECE[: min(size, MIB)], max(size // MIB, 1)) if length else (b"", 1)

        def work(head: bytes) -> Callable[[Connection], None]:
            return lambda connection: connection.ask(head, body, times)

        seconds = in_parallel(self._endpoint, connections, [work(head) for head in heads])
        return count / seconds if size < MIB else count * size / MIB / seconds

    def listing(self) -> float:
        """Keys a second of a list of all that `_fill` made, page by page."""
        self._fill()
        found = 0

        def pages(connection: Connection) -> None:
            nonlocal found
            query, token = {"list-type": "2", "prefix": "listed/"}, "first"
            while token:
                _, page = connection.read(self._endpoint.head("GET", f"/{BUCKET}", 0, query))
                found += page.count(b"<Key>")
                token = text_of(page, "NextContinuationToken")
                query["continuation-token"] = token

        seconds = in_parallel(self._endpoint, 1, [pages])
        if found != self._amounts.listed:
            raise RuntimeError(f"{found} keys were listed, not {self._amounts.listed}")
        return found / seconds

    def _fill(self) -> None:
        def put(index: int) -> Callable[[Connection], None]:
            path = f"/{BUCKET}/listed/{index:06}"
            return lambda connection: connection.ask(self._endpoint.head("PUT", path, 1), b"x")

        in_parallel(self._endpoint, MANY, [put(index) for index in range(self._amounts.listed)])

    def multipart(self) -> float:
        """MiB a second of an upload in parts, four at a time, its completion included."""
        size, path = self._amounts.large_bytes, f"/{BUCKET}/multipart"
        part = min(_PART_BYTES, size)
        upload = text_of(self._ask("POST", path, query={"uploads": ""})[1], "UploadId")
        etags = [""] * (size // part)

        def work(index: int) -> Callable[[Connection], None]:
            query = {"partNumber": str(index + 1), "uploadId": upload}
            head = self._endpoint.head("PUT", path, part, query)

            def put(connection: Connection) -> None:
                etags[index] = connection.put_part(head, _PIECE, part // MIB)

            return put

        seconds = in_parallel(self._endpoint, 4, [work(index) for index in range(len(etags))])
        named = "".join(
            f"<Part><PartNumber>{index + 1}</PartNumber><ETag>{etag}</ETag></Part>"
            for index, etag in enumerate(etags)
        )
        body = f"<CompleteMultipartUpload>{named}</CompleteMultipartUpload>".encode()
        head = self._endpoint.head("POST", path, len(body), {"uploadId": upload})
        seconds += in_parallel(self._endpoint, 1, [lambda connection: connection.read(head, body)])
        return size / MIB / seconds

    def _ask(
        self, method: str, path: str, query: dict[str, str] | None = None
    ) -> tuple[dict[str, str], bytes]:
        connection = self._endpoint.connect()
        try:
            return connection.read(self._endpoint.head(method, path, 0, query))
        finally:
            connection.close()


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    key: str
    title: str
    unit: str
    run: Callable[[Server, Amounts], float]


def _stream_rows() -> list[Row]:
    rows = []
    for connections in (1, MANY):
        crowd = connections > 1
        for title, key, size_of, count_of in (
            ("4 KiB", "4k", lambda _: 4 * KIB, lambda amounts: amounts.small),
            ("1 MiB", "1m", lambda _: MIB, lambda amounts: amounts.medium),
            (
                "256 MiB" if crowd else "1 GiB",
                "1g",
                lambda amounts, crowd=crowd: amounts.crowd_bytes if crowd else amounts.large_bytes,
                lambda _, crowd=crowd: MANY if crowd else 2,
            ),
        ):
            unit = "objects/s" if key == "4k" else "MiB/s"
            for verb in ("put", "get"):

                def run(
                    server: Server,
                    amounts: Amounts,
                    verb: str = verb,
                    size_of: Callable[[Amounts], int] = size_of,
                    count_of: Callable[[Amounts], int] = count_of,
                    connections: int = connections,
                ) -> float:
                    method = server.puts if verb == "put" else server.gets
                    return method(size_of(amounts), count_of(amounts), connections)

                name = f"{verb.upper()} {title}, {connections} connection{'s' * crowd}"
                rows.append(Row(f"{verb}-{key}-{connections}", name, unit, run))
    return rows


ROWS = [
    *_stream_rows(),
    Row("multipart", "multipart of 1 GiB", "MiB/s", lambda server, _: server.multipart()),
    Row("list", "list of 100,000 keys", "keys/s", lambda server, _: server.listing()),
]


@click.command()
@click.option("--quick", is_flag=True, help="Small amounts: too little to trust a ratio.")
@click.option("--rows", help=f"Only some of {', '.join(each.key for each in ROWS)}.")
@click.option("--columns", help=f"Only some of {', '.join(SERVERS)}.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, exists=True, file_okay=False, resolve_path=True),
    default=Path("/var/tmp"),
    show_default=True,
    help="Where to work; the disk under test is the one it lies on.",
)
def main(quick: bool, rows: str | None, columns: str | None, directory: Path) -> None:
    """Measure the S3 door beside other S3 servers. A GET row reads what its PUT row made."""
    wanted = chosen(rows, [each.key for each in ROWS], "--rows")
    names = chosen(columns, list(SERVERS), "--columns")
    amounts = QUICK if quick else Amounts()
    table = Table("work", "unit", show_edge=False, pad_edge=False)
    for name in names:
        table.add_column(name, justify="right")
    for name in names[1:]:
        table.add_column(f"{names[0]}/\n{name}", justify="right")
    with workspace(directory) as base, ExitStack() as stack:
        servers = {}
        for name in names:
            (base / name).mkdir()
            manager: Any = SERVERS[name](base / name)
            servers[name] = Server(stack.enter_context(manager), amounts)
        for row in ROWS:
            if row.key not in wanted:
                continue
            values = []
            for name in names:
                machine.settle()
                values.append(row.run(servers[name], amounts))
            ratios = [number(values[0] / value) for value in values[1:]]
            table.add_row(row.title, row.unit, *map(number, values), *ratios)
            click.echo(f"{row.title:<28} " + " ".join(map(number, values)), err=True)
    Console().print(table)
    facts = ", ".join(f"{name} {value}" for name, value in machine.describe(directory).items())
    click.echo(f"{amounts}; {facts}")


if __name__ == "__main__":
    main(prog_name="scripts/bench s3")
