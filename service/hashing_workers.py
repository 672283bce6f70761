"""Argon2id of what costs much, in a few processes of their own: what hashes there keeps nothing here waiting.

A thread would share the interpreter's lock. At a low priority it holds the lock while others have the processor, and
the event loop waits; at the loop's own its lanes take the processor from the loop. Must never hash more at once than
there are processes, nor wait in an unbounded queue.
"""

import asyncio
import json
import sys
from contextlib import suppress
from typing import Any, Final

from service.hashing import Cost, HashingOverloadError, VerifierError, refuse_absurd

PROGRAM: Final = (sys.executable, "-I", "-m", "service.hashing_worker")
ANSWER_WITHIN_S: Final = 30.0
"""Then a process is taken for stuck: no hash within our bounds takes so long, even where everything else is busy."""


class HashingWorkers:
    """Processes that hash, begun when they are needed; owned by one event loop and ended by `close`."""

    def __init__(self, *, cost: Cost, processes: int, queue_bound: int) -> None:
        self._cost = cost
        self._limit = processes + queue_bound
        self._processes = processes
        self._room = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._held = 0
        self._is_closed = False

    @property
    def permits_held(self) -> int:
        """How many calls run or wait, those that run for callers who have gone away among them."""
        return self._held

    async def hash(self, digest: bytes) -> str:
        """Return a new verifier of a 32-byte digest as a PHC string. Raises `HashingOverloadError`."""
        phc: str = (await self._answer(digest, None))["phc"]
        return phc

    async def verify(self, phc: str, digest: bytes) -> bool:
        """Tell whether `phc` is a verifier of this digest.

        Raises `HashingOverloadError`, and `VerifierError` before any hashing for a verifier beyond our bounds.
        """
        refuse_absurd(self._cost, phc)
        matches: bool = (await self._answer(digest, phc))["matches"]
        return matches

    def is_outdated(self, phc: str) -> bool:
        """Tell whether a verifier was made at another cost than new ones are."""
        return self._cost.hasher.check_needs_rehash(phc)

    async def close(self) -> None:
        """Refuse further calls and return when the last process has ended; calls already accepted are answered."""
        self._is_closed = True
        for _ in range(self._processes):  # it comes after all who wait, and nobody after it
            await self._room.acquire()
        while self._idle:
            await end(self._idle.pop())

    async def _answer(self, digest: bytes, phc: str | None) -> dict[str, Any]:
        if self._is_closed or self._held >= self._limit:
            raise HashingOverloadError("the hashing queue is full")
        self._held += 1
        try:
            await self._room.acquire()
        except BaseException:
            self._held -= 1
            raise
        hasher = self._cost.hasher
        cost = {
            "time_cost": hasher.time_cost,
            "memory_cost": hasher.memory_cost,
            "parallelism": hasher.parallelism,
            "hash_len": hasher.hash_len,
            "salt_len": hasher.salt_len,
        }
        # Whoever hangs up now stops waiting at once, but the hash goes on and keeps its place: else callers who hang up
        # could start more work than there is room for.
        task = asyncio.create_task(self._ask({"digest": digest.hex(), "phc": phc, "cost": cost}), name="hashing")
        task.add_done_callback(self._ended)
        answer = await asyncio.shield(task)
        if "verifier" in answer:
            raise VerifierError(answer["verifier"])
        if "failed" in answer:
            raise HashingOverloadError(f"a hash could not be computed: {answer['failed']}")
        return answer

    async def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        process = await self._begun()
        try:
            async with asyncio.timeout(ANSWER_WITHIN_S):
                answer: dict[str, Any] = json.loads(await ask(process, json.dumps(question).encode()))
        except BaseException as error:
            await end(process)  # or its answer would be taken for that to the next question
            if not isinstance(error, OSError | ValueError):
                raise
            raise HashingOverloadError("a process that hashes has ended or is stuck") from error
        self._idle.append(process)
        return answer

    async def _begun(self) -> asyncio.subprocess.Process:
        while self._idle:
            process = self._idle.pop()
            if process.returncode is None:
                return process
        # In our session: Linux weighs priorities within one, and sessions alike (`sched(7)`, autogroups).
        pipe = asyncio.subprocess.PIPE
        try:
            return await asyncio.create_subprocess_exec(*PROGRAM, stdin=pipe, stdout=pipe, env={})
        except OSError as error:
            raise HashingOverloadError(f"a process that hashes cannot be started: {error.strerror}") from error

    def _ended(self, task: asyncio.Task[dict[str, Any]]) -> None:
        self._room.release()
        self._held -= 1
        if not task.cancelled():
            task.exception()  # told to whoever still waits


async def ask(process: asyncio.subprocess.Process, question: bytes) -> bytes:
    """Send one line and read one. Raises OSError, and ValueError where the process ended instead."""
    if process.stdin is None or process.stdout is None:
        raise AssertionError("a process that hashes has pipes")
    process.stdin.write(question + b"\n")
    await process.stdin.drain()
    return await process.stdout.readline()


async def end(process: asyncio.subprocess.Process) -> None:
    """End a process, and wait until it has."""
    with suppress(ProcessLookupError):
        process.kill()  # it holds nothing that could be lost
    await process.wait()
