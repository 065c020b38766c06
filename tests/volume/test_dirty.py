"""The dirty buffer against a plain bytearray."""

from hypothesis import given
from hypothesis import strategies as st

from objfs.volume.dirty import DirtyBuffer

SIZE = 48
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("write"), st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=12)),
        st.tuples(st.just("discard"), st.integers(0, SIZE), st.just(b"")),
        st.tuples(st.just("cut"), st.integers(0, SIZE - 1), st.binary(min_size=1, max_size=12)),
    ),
    max_size=30,
)


class Model:
    """What the buffer should hold: a byte or None for each offset."""

    def __init__(self) -> None:
        self.held: list[int | None] = [None] * (SIZE + 16)

    def put(self, offset: int, data: bytes) -> None:
        self.held[offset : offset + len(data)] = data

    def drop(self, start: int, end: int) -> None:
        self.held[start:end] = [None] * (end - start)


def contents(buffer: DirtyBuffer) -> list[int | None]:
    held: list[int | None] = [None] * (SIZE + 16)
    last = 0
    for offset, piece in buffer.pieces_in(0, SIZE + 16):
        assert offset >= last
        last = offset + len(piece)
        held[offset:last] = bytes(piece)
    return held


def apply(steps: list[tuple[str, int, bytes]]) -> tuple[DirtyBuffer, Model]:
    buffer, model = DirtyBuffer(), Model()
    for what, offset, data in steps:
        if what == "write":
            buffer.write(offset, data)
            model.put(offset, data)
        elif what == "discard":
            buffer.discard(offset)
            model.drop(offset, SIZE + 16)
        else:
            buffer.discard(offset, offset + len(data))
            model.drop(offset, offset + len(data))
        assert contents(buffer) == model.held
        assert buffer.bytes == sum(byte is not None for byte in model.held)
        assert bool(buffer) == (buffer.bytes > 0)
    return buffer, model


@given(STEPS)
def test_holds_what_was_written_last(steps: list[tuple[str, int, bytes]]) -> None:
    apply(steps)


@given(STEPS, st.integers(0, 40), st.integers(1, 7))
def test_take_splits_and_give_back_joins(
    steps: list[tuple[str, int, bytes]], limit: int, run: int
) -> None:
    buffer, model = apply(steps)
    taken = buffer.take(limit)
    assert taken.bytes + buffer.bytes == sum(byte is not None for byte in model.held)
    assert bool(taken) == any(byte is not None for byte in model.held)
    pieces = [(offset, b"".join(buffers)) for offset, buffers in taken.runs(run)]
    assert all(0 < len(data) <= run for _, data in pieces)
    assert sum(len(data) for _, data in pieces) == taken.bytes
    for offset, data in pieces:
        assert list(data) == model.held[offset : offset + len(data)]
    buffer.write(5, b"newer")
    model.put(5, b"newer")
    buffer.give_back(taken)
    assert contents(buffer) == model.held


def test_tiny_appends_are_gathered_into_one_piece() -> None:
    buffer = DirtyBuffer()
    for index in range(1000):
        buffer.write(index * 10, b"0123456789")
    assert len(list(buffer.pieces_in(0, 10_000))) == 1
    assert [b"".join(data) for _, data in buffer.runs(1 << 20)] == [b"0123456789" * 1000]
