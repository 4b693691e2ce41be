"""The batcher: what waits is the next batch, nobody is lost, and nobody waits for who has gone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi")

from animegen import Generator, UsageError
from animegen.images.stills import Images
from animegen.server.batcher import Batcher, Job
from animegen.server.problems import Busy


class Slow:
    """A generator's calls, each of which waits until it is let go; the sizes of its batches."""

    def __init__(self, generator: Generator) -> None:
        self.generator, self.batches = generator, []  # type: tuple[Generator, list[int]]
        self.go = threading.Semaphore(0)
        self.began = threading.Semaphore(0)
        self.error: Exception | None = None

    def __call__(self, z: Any, labels: Any = None, *, batch_size: int | None = None) -> Images:
        self.batches.append(len(z))
        self.began.release()
        assert self.go.acquire(timeout=60)
        if self.error is not None:
            raise self.error
        return self.generator(z, labels, batch_size=batch_size)

    def job(self, *seeds: int, finish: Callable[[Images], Any] = lambda images: images) -> Job[Any]:
        """The images of seeds."""
        generator = self.generator
        return Job(self, len(seeds), lambda: (generator.latents(seeds), generator.label_vectors(seeds)), finish)  # type: ignore[arg-type]

    async def has_begun(self) -> None:
        """A batch is under way."""
        assert await asyncio.to_thread(self.began.acquire, timeout=60)


@pytest.fixture
def slow(tiny_model: Path) -> Slow:
    return Slow(Generator.load(tiny_model, device="cpu"))


def with_lanes(
    test: Callable[[Batcher], Coroutine[Any, Any, None]], *, lanes: int = 1, batch: int = 4, limit: int = 100
) -> None:
    """Run a test on an event loop, with a batcher."""

    async def whole() -> None:
        batcher = Batcher(lanes=lanes, batch=batch, limit=limit)
        batcher.start()
        try:
            await asyncio.wait_for(test(batcher), 60)
        finally:
            await batcher.stop()

    asyncio.run(whole())


def test_what_waits_is_the_next_batch_counted_in_images(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        first = batcher.submit(slow.job(0))
        await slow.has_begun()
        others = [batcher.submit(slow.job(*seeds)) for seeds in ([1], [2, 3], [4, 5], [6])]
        assert batcher.waiting == 6
        slow.go.release(99)
        done = [await future for future in (first, *others)]
        assert slow.batches == [1, 4, 2]
        expected = slow.generator.sample(7)
        assert np.array_equal(np.concatenate([one.result for one in done]), expected)
        assert batcher.waiting == 0
        assert done[1].queue > 0
        assert done[1].timing.startswith("queue;dur=")

    with_lanes(test)


def test_a_large_job_is_made_in_pieces_between_which_others_come(slow: Slow) -> None:
    order: list[str] = []

    def noted(name: str) -> Callable[[Images], Images]:
        def finish(images: Images) -> Images:
            order.append(name)
            return images

        return finish

    async def test(batcher: Batcher) -> None:
        large = batcher.submit(slow.job(*range(11), finish=noted("large")))
        await slow.has_begun()
        small = batcher.submit(slow.job(50, finish=noted("small")))
        slow.go.release(99)
        await small
        assert np.array_equal((await large).result, slow.generator.sample(11))

    with_lanes(test)
    assert order == ["small", "large"]
    assert sum(slow.batches) == 12
    assert max(slow.batches) == 4


def test_lanes_share_a_large_job(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        large = batcher.submit(slow.job(*range(8)))
        await slow.has_begun()
        await slow.has_begun()
        slow.go.release(99)
        assert np.array_equal((await large).result, slow.generator.sample(8))

    with_lanes(test, lanes=2)


def test_idle_lanes_share_what_comes_at_once(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        while batcher.idle < 2:
            await asyncio.sleep(0.001)
        jobs = [batcher.submit(slow.job(*seeds)) for seeds in ([0], [1, 2], [3])]
        await slow.has_begun()
        await slow.has_begun()
        slow.go.release(99)
        done = [await job for job in jobs]
        assert slow.batches == [2, 2]
        assert np.array_equal(np.concatenate([one.result for one in done]), slow.generator.sample(4))

    with_lanes(test, lanes=2)


def test_models_take_turns(slow: Slow, conditional_model: Path) -> None:
    other = Slow(Generator.load(conditional_model, device="cpu"))

    async def test(batcher: Batcher) -> None:
        first = batcher.submit(slow.job(0))
        await slow.has_begun()
        jobs = [batcher.submit(one.job(seed)) for seed in range(3) for one in (slow, other)]
        slow.go.release(99)
        other.go.release(99)
        done = await asyncio.gather(first, *jobs)
        assert slow.batches == [1, 3]
        assert other.batches == [3]
        assert np.array_equal(done[2].result[0], other.generator.image(0))

    with_lanes(test)


def test_a_full_queue_refuses_with_a_time(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        running = batcher.submit(slow.job(0))
        await slow.has_begun()
        waiting = batcher.submit(slow.job(1, 2, 3))
        with pytest.raises(Busy) as caught:
            batcher.submit(slow.job(4, 5))
        assert caught.value.status == 503
        assert int(caught.value.headers["Retry-After"]) >= 1
        last = batcher.submit(slow.job(4))
        slow.go.release(99)
        assert len(await asyncio.gather(running, waiting, last)) == 3
        batcher.submit(slow.job(1, 2, 3, 4)).cancel()

    with_lanes(test, limit=4)


def test_who_has_gone_while_waiting_is_left_out(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        running = batcher.submit(slow.job(0))
        await slow.has_begun()
        gone, stays = batcher.submit(slow.job(1, 2, 3)), batcher.submit(slow.job(4))
        gone.cancel()
        await asyncio.sleep(0)
        assert batcher.waiting == 1
        slow.go.release(99)
        await asyncio.gather(running, stays)
        assert slow.batches == [1, 1]

    with_lanes(test)


def test_who_goes_while_his_batch_runs_harms_nobody(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        running = batcher.submit(slow.job(0))
        await slow.has_begun()
        gone, stays = batcher.submit(slow.job(1)), batcher.submit(slow.job(2))
        large = batcher.submit(slow.job(*range(10, 20)))
        slow.go.release()
        await slow.has_begun()
        gone.cancel()
        large.cancel()
        slow.go.release(99)
        assert np.array_equal((await stays).result[0], slow.generator.image(2))
        await running
        await batcher.submit(slow.job(3))
        assert slow.batches == [1, 4, 1]  # the rest of the large one is made for nobody
        assert batcher.waiting == 0

    with_lanes(test)


def test_a_failing_batch_is_told_to_each_and_the_next_one_runs(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        slow.error = ValueError("no memory")
        first = batcher.submit(slow.job(0))
        await slow.has_begun()
        others = [batcher.submit(slow.job(1)), batcher.submit(slow.job(*range(10)))]
        slow.go.release(2)
        for future in (first, *others):
            with pytest.raises(ValueError, match="no memory"):
                await future
        slow.error = None
        slow.go.release(99)
        await batcher.submit(slow.job(2))
        assert batcher.waiting == 0

    with_lanes(test)


def test_who_can_t_be_made_or_finished_harms_nobody_else(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        running = batcher.submit(slow.job(0))
        await slow.has_begun()
        wrong = batcher.submit(slow.job(-1))
        broken = batcher.submit(slow.job(1, finish=lambda _: 1 // 0))
        right = batcher.submit(slow.job(2))
        slow.go.release(99)
        with pytest.raises(UsageError, match="seed is -1"):
            await wrong
        with pytest.raises(ZeroDivisionError):
            await broken
        assert np.array_equal((await right).result[0], slow.generator.image(2))
        await running

    with_lanes(test)


def test_stopping_answers_who_waits(slow: Slow) -> None:
    async def test(batcher: Batcher) -> None:
        running = batcher.submit(slow.job(0))
        await slow.has_begun()
        waiting = batcher.submit(slow.job(1))
        stopping = asyncio.create_task(batcher.stop())
        await asyncio.sleep(0)  # it has begun: a lane that ends its batch later takes no other
        slow.go.release(99)
        await stopping
        with pytest.raises(Busy, match="stopping"):
            await waiting
        assert np.array_equal((await running).result, slow.generator.sample(1))
        with pytest.raises(Busy, match="stopping"):
            batcher.submit(slow.job(2))

    with_lanes(test)


def test_an_idle_lane_may_wait_for_a_fuller_batch(slow: Slow) -> None:
    async def test() -> None:
        batcher = Batcher(lanes=1, batch=2, limit=9, wait=0.01)
        batcher.start()
        slow.go.release(99)
        await asyncio.gather(*(batcher.submit(slow.job(seed)) for seed in range(3)))
        await batcher.stop()

    asyncio.run(test())
    assert sorted(slow.batches) == [1, 2]
