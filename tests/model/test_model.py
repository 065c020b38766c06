"""Random histories on a volume and on the plain model, compared after every step, every past
moment included (`tests/model/reference.py` says what is right)."""

import pytest

from tests.model.sequences import check

SEQUENCES = 60
OPERATIONS = 120


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(SEQUENCES))
async def test_a_random_history(seed: int) -> None:
    await check(seed, OPERATIONS, sqlite=seed % 3 == 0)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1000, 4000))
async def test_many_more(seed: int) -> None:
    await check(seed, 200, sqlite=seed % 3 == 0)
