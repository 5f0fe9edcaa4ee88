"""The work of soak.sh: 1,000 clients that stream, 200 that hang or drop, one server with Lemmy Nano."""

import asyncio
import collections
import json
import os
import pathlib
import random
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import time

GOOD, BAD = 1000, 200
SLOTS, QUEUE = 4, 1024
GRACE = 10
SUMS = {f"What is {a} + {b}?": str(a + b) for a in (12, 23, 31, 44) for b in range(20, 36)}
QUESTIONS = list(SUMS)
# Longer than anything here takes, also on a busy machine; what hits it is lost.
PATIENCE = 300


class Lost(Exception):
    """What a client was owed and did not get."""


class Client:
    """One connection: HTTP/1.1 as far as the server's answers need it."""

    def __init__(self, port, limit=1 << 16):
        self.port = port
        self.limit = limit

    async def __aenter__(self):
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", self.port, limit=self.limit)
        return self

    async def __aexit__(self, *_):
        self.writer.close()

    def drop(self):
        """Leaves without a word: the system sends a reset."""
        self.writer.transport.abort()

    async def send(self, path, body=None):
        head = f"{'GET' if body is None else 'POST'} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        data = b"" if body is None else json.dumps(body).encode()
        if body is not None:
            head += f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n"
        self.writer.write(f"{head}\r\n".encode() + data)
        await self.writer.drain()

    async def head(self):
        """Status and headers of an answer."""
        raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").strip().split("\r\n")
        pairs = (line.split(":", 1) for line in lines)
        return int(first.split()[1]), {name.lower(): value.strip() for name, value in pairs}

    async def body(self, headers):
        if headers.get("transfer-encoding") == "chunked":
            return b"".join([piece async for piece in self.chunks()])
        return await self.reader.readexactly(int(headers["content-length"]))

    async def chunks(self):
        while size := int(await self.reader.readline(), 16):
            yield await self.reader.readexactly(size)
            await self.reader.readexactly(2)
        await self.reader.readexactly(2)

    async def events(self):
        """The data of each event of a stream, up to and with [DONE]."""
        left = b""
        async for piece in self.chunks():
            *whole, left = (left + piece).split(b"\n\n")
            for event in whole:
                if event.startswith(b"data: "):
                    yield event[6:].decode()

    async def get(self, path):
        await self.send(path)
        status, headers = await self.head()
        return status, await self.body(headers)


def question(text, **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, "stream": True, **more}


class Reply:
    """What came of a streamed request."""

    def __init__(self):
        self.status = 0
        self.headers = {}
        self.first = None
        self.text = ""
        self.finish = None
        self.error = None
        self.is_done = False


async def ask(client, body):
    """Sends a request and reads all of its answer."""
    reply, began = Reply(), time.monotonic()
    await client.send("/v1/chat/completions", body)
    reply.status, reply.headers = await client.head()
    if reply.status != 200:
        reply.error = json.loads(await client.body(reply.headers))["error"]
        return reply
    async for event in client.events():
        if reply.is_done:
            raise Lost(f"found {event!r} after [DONE]")
        if event == "[DONE]":
            reply.is_done = True
            continue
        event = json.loads(event)
        if "error" in event:
            reply.error = event["error"]
            continue
        for choice in event["choices"]:
            content = choice["delta"].get("content")
            if content and reply.first is None:
                reply.first = time.monotonic() - began
            reply.text += content or ""
            reply.finish = choice["finish_reason"] or reply.finish
    if not reply.is_done:
        raise Lost(f"expected [DONE] at the end of a stream, found nothing after {reply.text!r}")
    return reply


class Soak:
    """The server, its clients, and what was seen."""

    def __init__(self, lemmy, seconds):
        self.seconds = seconds
        self.folder = tempfile.TemporaryDirectory()
        self.log = pathlib.Path(self.folder.name) / "log"
        flags = ["--port", "0", "--ctx-size", "2048", "--parallel", str(SLOTS), "--queue", str(QUEUE)]
        flags += ["--queue-timeout", str(PATIENCE), "--shutdown-grace", str(GRACE)]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("LEMMY_")}
        with open(self.log, "wb") as log:
            self.server = subprocess.Popen([lemmy, "serve", *flags], stderr=log, env=environment)
        self.counts = collections.Counter()
        self.firsts = []
        self.memory = []
        self.health = []
        self.problems = []
        self.right = {}

    async def until_ready(self):
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and self.server.poll() is None:
            for line in self.log.read_text().splitlines():
                if line.startswith("ready on http://"):
                    self.port = int(line.rsplit(":", 1)[1])
                    return
            await asyncio.sleep(0.1)
        raise SystemExit(f"the server did not get ready; its log:\n{self.log.read_text()}")

    def note(self, problem):
        self.problems.append(problem)

    async def alone(self):
        """What the model says to each question while nobody else asks."""
        async with Client(self.port) as client:
            for text in QUESTIONS:
                self.right[text] = (await ask(client, question(text))).text
        sums = sum(self.right[text] == SUMS[text] for text in QUESTIONS)
        if sums < len(QUESTIONS) * 3 // 4:
            self.note(f"expected right sums, found {sums} of {len(QUESTIONS)}: {self.right}")

    async def good(self, number, end):
        """Asks, reads, asks again on the same connection; is patient when the queue is full."""
        dice = random.Random(number)
        await asyncio.sleep(dice.random() * min(5, self.seconds / 4))
        while time.monotonic() < end:
            try:
                async with Client(self.port) as client:
                    for _ in range(dice.randint(1, 4)):
                        if time.monotonic() < end:
                            await asyncio.wait_for(self.one(client, dice), PATIENCE)
            except (Lost, OSError, asyncio.IncompleteReadError, asyncio.TimeoutError) as problem:
                self.note(f"a request of client {number}: {type(problem).__name__}: {problem}")

    async def one(self, client, dice):
        text = dice.choice(QUESTIONS)
        reply = await ask(client, question(text))
        if reply.status == 429 and reply.error["code"] == "queue_full":
            self.counts["come back later"] += 1
            await asyncio.sleep(min(5, int(reply.headers["retry-after"])) * (0.5 + dice.random()))
        elif reply.status != 200 or reply.error:
            raise Lost(f"expected an answer, found {reply.status} {reply.error}")
        elif (reply.text, reply.finish) != (self.right[text], "stop"):
            raise Lost(f"{text} expected {self.right[text]!r} and stop, found {reply.text!r} and {reply.finish}")
        else:
            self.counts["answered"] += 1
            self.firsts.append(reply.first)

    async def bad(self, number, end):
        """Hangs or drops in one of several ways, again and again."""
        dice = random.Random(-number)
        while time.monotonic() < end:
            try:
                # With a limit of one byte what is not asked for is not read.
                async with Client(self.port, limit=1) as client:
                    await self.misbehave(client, dice, end)
            except (OSError, asyncio.IncompleteReadError):
                pass  # The server may end what misbehaves.
            self.counts["hung or dropped"] += 1
            await asyncio.sleep(dice.random())

    async def misbehave(self, client, dice, end):
        async def hang(most):
            await asyncio.sleep(max(0, min(dice.random() * most, end - time.monotonic())))

        body = question("Tell me a story.", logit_bias=self.endless)
        match dice.randrange(5):
            case 0:  # half a head, then nothing
                client.writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0")
                await hang(15)
            case 1:  # half a body, then nothing
                head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                client.writer.write(f"{head}Content-Length: 1000\r\n\r\n".encode() + b'{"messages": [')
                await hang(15)
            case 2:  # a request, and gone, perhaps while it waits
                await client.send("/v1/chat/completions", body)
                await hang(2)
            case 3:  # a request whose answer is left in the middle
                await client.send("/v1/chat/completions", body)
                await asyncio.wait([asyncio.ensure_future(client.reader.read(dice.randint(1, 3000)))], timeout=5)
            case 4:  # a request whose answer is not read
                await client.send("/v1/chat/completions", {**body, "max_tokens": 200})
                await hang(10)
        client.drop()

    async def watch(self, end):
        """Memory and /health, once a second."""
        while time.monotonic() < end:
            began = time.monotonic()
            self.memory.append(self.resident())
            try:
                async with Client(self.port) as client:
                    status, _ = await client.get("/health")
                if status != 200:
                    self.note(f"/health: expected 200, found {status}")
            except (OSError, asyncio.IncompleteReadError) as problem:
                self.note(f"/health: {type(problem).__name__}: {problem}")
            self.health.append(time.monotonic() - began)
            await asyncio.sleep(max(0, 1 - self.health[-1]))

    def resident(self):
        """Memory of the server in MiB."""
        status = pathlib.Path(f"/proc/{self.server.pid}/status").read_text()
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) / 1024

    def open_files(self):
        return len(os.listdir(f"/proc/{self.server.pid}/fd"))

    async def becomes(self, what, look, wanted):
        end = time.monotonic() + PATIENCE
        while (found := await look()) != wanted:
            if time.monotonic() > end:
                self.note(f"{what}: expected {wanted}, found {found}")
                return
            await asyncio.sleep(0.1)

    async def state(self):
        async with Client(self.port) as client:
            health = json.loads((await client.get("/health"))[1])
        return health["slots_processing"], health["queue"]

    async def calm(self):
        """Everybody is gone: nothing may be left of them."""
        await self.becomes("running and waiting requests afterwards", self.state, (0, 0))
        files = self.files

        async def few():
            return self.open_files() <= files + 4

        await self.becomes(f"at most {files} open files and a few, as before", few, True)
        async with Client(self.port) as client:
            metrics = (await client.get("/metrics"))[1].decode()
        if "\nlemmy_worker_panics_total 0\n" not in metrics:
            self.note("lemmy_worker_panics_total: expected 0")
        third = len(self.memory) // 3
        warm, late = statistics.median(self.memory[third:2 * third]), statistics.median(self.memory[2 * third:])
        print(f"memory: {warm:.0f} MiB in the middle, {late:.0f} MiB in the last third, {max(self.memory):.0f} at most")
        if late > warm * 1.05 + 16:
            self.note(f"memory grows: {warm:.0f} MiB, later {late:.0f} MiB")

    async def find_endless(self):
        """A bias against the tokens that end a reply."""
        self.endless = {}
        async with Client(self.port) as client:
            for text in ("<eos>", "<turn|>", "<|tool_response>"):
                await client.send("/tokenize", {"content": text, "add_special": False, "parse_special": True})
                _, headers = await client.head()
                (token,) = json.loads(await client.body(headers))["tokens"]
                self.endless[str(token)] = -100

    async def stop(self):
        """SIGTERM: who waits is told so, short replies end well, a long one is ended when the grace is over."""
        async def one(body):
            async with Client(self.port) as client:
                return await asyncio.wait_for(ask(client, body), PATIENCE)

        short = question("Tell me a story.", logit_bias=self.endless, max_tokens=400)
        long = question("Tell me a story.", logit_bias=self.endless, max_tokens=1_000_000)
        running = [asyncio.ensure_future(one(body)) for body in (long, short, short, short)]
        await self.becomes("running requests", self.state, (SLOTS, 0))
        waiting = [asyncio.ensure_future(one(question(QUESTIONS[0]))) for _ in range(8)]
        await self.becomes("running and waiting requests", self.state, (SLOTS, len(waiting)))
        began = time.monotonic()
        self.server.send_signal(signal.SIGTERM)
        ends = await asyncio.gather(*running, *waiting, return_exceptions=True)
        for name, reply in zip(["long"] + ["short"] * 3 + ["waiting"] * 8, ends):
            if isinstance(reply, Exception):
                self.note(f"{name} request at the stop: {type(reply).__name__}: {reply}")
            elif reply.error and reply.error["code"] != "shutting_down":
                self.note(f"{name} request at the stop: expected shutting_down, found {reply.error}")
            elif not reply.error and (name == "waiting" or reply.finish != "length"):
                self.note(f"{name} request at the stop: found the end {reply.finish} and {reply.text!r}")
        code = await asyncio.get_running_loop().run_in_executor(None, lambda: self.server.wait(PATIENCE))
        print(f"stop: exit {code} after {time.monotonic() - began:.1f} s with a grace of {GRACE} s")
        if code != 0:
            self.note(f"exit code after SIGTERM: expected 0, found {code}")

    async def run(self):
        await self.until_ready()
        self.files = self.open_files()
        await self.find_endless()
        await self.alone()
        end = time.monotonic() + self.seconds
        clients = [self.good(number, end) for number in range(GOOD)]
        clients += [self.bad(number, end) for number in range(1, BAD + 1)]
        await asyncio.gather(self.watch(end), *clients)
        print(", ".join(f"{count} {what}" for what, count in sorted(self.counts.items())))
        if self.firsts:
            firsts = sorted(self.firsts)
            p50, p99 = firsts[len(firsts) // 2], firsts[len(firsts) * 99 // 100]
            print(f"first token: p50 {p50:.3f} s, p99 {p99:.3f} s, {GOOD} clients for {SLOTS} slots")
        print(f"/health: p50 {statistics.median(self.health) * 1000:.0f} ms, most {max(self.health) * 1000:.0f} ms")
        if self.counts["answered"] == 0:
            self.note("nobody was answered")
        if self.server.poll() is not None:
            self.note(f"the server ended by itself: {self.server.returncode}")
            return
        await self.calm()
        await self.stop()


def main():
    lemmy, seconds = sys.argv[1], float(sys.argv[2])
    if seconds < 10:
        sys.exit(f"seconds: expected at least 10, found {seconds}: memory could not be judged")
    # Each client is a file here and one there.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * (GOOD + BAD) + 256
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted if most == resource.RLIM_INFINITY else min(wanted, most), most))
    soak = Soak(lemmy, seconds)
    try:
        asyncio.run(soak.run())
    finally:
        soak.server.kill()
        soak.server.wait()
    for problem in soak.problems[:20]:
        print(f"FAILED {problem}")
    if soak.problems:
        print(f"{len(soak.problems)} problems; the end of the server's log:")
        print("\n".join(soak.log.read_text(errors="replace").splitlines()[-20:]))
    soak.folder.cleanup()
    sys.exit(1 if soak.problems else 0)


main()
