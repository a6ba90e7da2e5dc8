"""Admission: what all requests together may take of the server. One runs, a bounded queue waits, others are refused."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any, TypeVar

from serving.errors import DeadlineExceeded, Overloaded, ServingUnavailable

Result = TypeVar("Result")

TIMED_OUT = "Timed out waiting for notification"  # TensorFlow's own text for a run past its deadline
STOPPING = "The server is stopping."
MAX_MESSAGE_BYTES = 2**31 - 1  # gRPC's largest message; tensorflow_model_server sets no smaller limit
# Of all requests in flight: the largest one alone, or a full queue with states of 1024x1024 pixels over REST.
MAX_BYTES_IN_FLIGHT = MAX_MESSAGE_BYTES
MAX_ARRIVING = 256  # requests that are being received: four times the clients of `make soak`
POLL_S = 0.05  # while a stop waits for the running call
THREADS = 4  # one for the run; the others read requests and write responses, which takes each less than a second


class Admission:
    """Lets one call run at a time: a second one would slow both and might exhaust the memory.

    All methods are called from the event loop, which thus never waits: what takes long is run by `in_thread`.
    """

    def __init__(self, max_waiting: int = 16) -> None:
        self._max_waiting = max_waiting
        self._queue: deque[asyncio.Future[None]] = deque()  # the running call, then the waiting ones
        self._arriving: dict[asyncio.Timeout, None] = {}  # the oldest first
        self._free_bytes = MAX_BYTES_IN_FLIGHT
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="calls")
        self._stopping = False

    def check(self) -> None:
        """Raises what `turn` would raise now: a call that would be refused need not be received."""
        if self._stopping:
            raise ServingUnavailable(STOPPING)
        if len(self._queue) > self._max_waiting:
            full = f"its queue of {self._max_waiting} is full"
            raise Overloaded(f"The server is running 1 call and {full}. Try again later.")

    @asynccontextmanager
    async def arrival(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Limits the time in which a request is received by the `with` block, which may reschedule the limit.

        If too many requests are being received, the one that began first ends: a client that opens requests and sends
        nothing thus keeps no other one out. It gets DeadlineExceeded, as does a request that takes too long.
        """
        try:
            async with asyncio.timeout(seconds) as limit:
                if len(self._arriving) >= MAX_ARRIVING:
                    oldest = next(iter(self._arriving))
                    del self._arriving[oldest]
                    if not oldest.expired():
                        oldest.reschedule(0)  # long past
                self._arriving[limit] = None
                try:
                    yield limit
                finally:
                    self._arriving.pop(limit, None)
        except TimeoutError:
            raise DeadlineExceeded("The request was not received in time.") from None

    @contextmanager
    def budget(self) -> Iterator[Callable[[int], None]]:
        """Yields a function that takes bytes for a request; the end of the `with` block gives them back.

        The function raises Overloaded if too little is left of MAX_BYTES_IN_FLIGHT.
        """
        taken = 0

        def take(count: int) -> None:
            nonlocal taken
            if count > self._free_bytes:
                raise Overloaded(
                    f"All requests together may hold {MAX_BYTES_IN_FLIGHT} bytes, and this one is too large beside the "
                    "others. Try again later."
                )
            self._free_bytes -= count
            taken += count

        try:
            yield take
        finally:
            self._free_bytes += taken

    @asynccontextmanager
    async def turn(self, deadline: float | None = None) -> AsyncIterator[None]:
        """Waits until the call may run, in order of arrival; its turn lasts as long as the `with` block.

        A cancelled call leaves the queue. Raises ServingUnavailable if the server is stopping or stops meanwhile,
        Overloaded if the queue is full, and DeadlineExceeded at the deadline, on the clock of `time.monotonic`.
        """
        self.check()
        turn = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        self._let_first_run()
        try:
            try:
                async with asyncio.timeout_at(deadline):  # the event loop's clock is time.monotonic
                    await turn
            except TimeoutError:
                raise DeadlineExceeded(TIMED_OUT) from None
            yield
        finally:
            self._queue.remove(turn)
            self._let_first_run()

    async def in_thread(self, function: Callable[..., Result], *arguments: Any) -> Result:
        """Runs a function in a thread, always to its end: TensorFlow cannot be interrupted.

        If the caller is cancelled meanwhile, it is so after that end, and a turn lasts until then.
        """
        work = asyncio.wrap_future(self._threads.submit(function, *arguments))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait([work])
            work.exception()  # otherwise asyncio would log it, as one that nobody has seen
            raise

    async def stop(self, timeout_s: float) -> bool:
        """Refuses new and waiting calls, and waits for the running one; returns whether it ended in time."""
        self._stopping = True
        for waiting in list(self._queue)[1:]:
            if not waiting.done():
                waiting.set_exception(ServingUnavailable(STOPPING))
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._queue:
                    await asyncio.sleep(POLL_S)
        return not self._queue

    def _let_first_run(self) -> None:
        if self._queue and not self._queue[0].done():
            self._queue[0].set_result(None)
