"""A proxy before an S3 server on loopback: lets every request take longer, and counts requests and the bytes of their
bodies by what they are for. A process of its own, so that it takes nothing from the one that measures:

    python3 benches/counting_proxy.py PORT

It prints its own port. Each line that it reads is a command, and each is answered by a line of JSON: `delay SECONDS`, and
`take`, for what was counted since it was last taken. It ends with its input.
"""

import asyncio
import json
import re
import sys
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote

from traffic import Traffic

PIECE = 64 << 10
# Names of the lake's folders that say less than these.
KINDS = {"snapshots": "manifest", "runs": "run report", "intents": "intent", "begun": "intent", "staging": "upload note"}


def purpose(method: str, target: str) -> str:
    """What a request is for: its method, or LIST, and the kind of object."""
    path, _, query = target.partition("?")
    parameters = parse_qs(query, keep_blank_values=True)
    if method == "GET" and "list-type" in parameters:
        return f"LIST {kind_of(parameters.get('prefix', [''])[0])}"
    if method == "POST" and "delete" in parameters:
        return "DELETE several"
    return f"{method} {kind_of(unquote(path))}"


def kind_of(path: str) -> str:
    """By the lake's layout (crates/writer/src/layout.rs)."""
    names = path.strip("/").split("/")
    if "_delta_log" in names:
        return "checkpoint" if "checkpoint" in names[-1] else "log"
    if "_lake" not in names:
        return "data"
    # Below the dataset's folder.
    below = names[names.index("_lake") + 2 :]
    if not below:
        return "control documents"
    if names[-1].endswith(".lock"):
        return "lease"
    name = re.split(r"[-.]", below[0])[0]
    return KINDS.get(name, name)


@dataclass(frozen=True)
class Head:
    """The first line and the headers of a request or an answer, as they came."""

    raw: bytes

    @property
    def words(self) -> list[str]:
        return self.raw.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)

    def header(self, name: bytes) -> bytes | None:
        found = re.search(rb"\r\n" + name + rb":[ \t]*([^\r\n]*)", self.raw, re.IGNORECASE)
        return found and found[1].strip()


class Proxy:
    """The proxy itself. Every client's connection has one to the store, and its requests come one after another."""

    def __init__(self, store: int) -> None:
        self.store = store
        self.delay = 0.0
        self.traffic = Traffic()

    async def serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        open_ends = [to_client]
        try:
            store, to_store = None, None
            while (request := await head(client)) is not None:
                method, target, _ = request.words
                self.traffic.requests[purpose(method, target)] += 1
                await asyncio.sleep(self.delay)
                if store is None or store.at_eof():
                    store, to_store = await asyncio.open_connection("127.0.0.1", self.store)
                    open_ends.append(to_store)
                to_store.write(request.raw)
                async for piece in body(client, request, has_any=True):
                    self.traffic.up += len(piece)
                    to_store.write(piece)
                    await to_store.drain()
                answer = await final_head(store, to_client)
                if answer is None:
                    break
                status = int(answer.words[1])
                self.traffic.errors += status >= 500
                to_client.write(answer.raw)
                has_body = method != "HEAD" and status not in (204, 304)
                async for piece in body(store, answer, has_any=has_body, to_end=True):
                    # Before it is on its way: once the client has it, the counts may be taken.
                    self.traffic.down += len(piece)
                    to_client.write(piece)
                    await to_client.drain()
                if b"close" in ((answer.header(b"connection") or b"") + (request.header(b"connection") or b"")).lower():
                    break
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # Whoever left sees it; the other end is closed here.
        finally:
            for end in open_ends:
                end.close()

    async def obey(self) -> None:
        """Commands from standard input, until it ends."""
        commands = asyncio.StreamReader()
        protocol = asyncio.StreamReaderProtocol(commands)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        while line := await commands.readline():
            match line.decode().split():
                case ["delay", seconds]:
                    self.delay = float(seconds)
                    answer = {}
                case ["take"]:
                    answer, self.traffic = vars(self.traffic), Traffic()
                case _:
                    raise SystemExit(f"counting_proxy: {line!r} is no command")
            print(json.dumps(answer), flush=True)


async def head(reader: asyncio.StreamReader) -> Head | None:
    """The next head; none where the connection ends before it."""
    try:
        return Head(await reader.readuntil(b"\r\n\r\n"))
    except asyncio.IncompleteReadError:
        return None


async def final_head(store: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> Head | None:
    """The head of the answer; those of provisional ones before it are passed on."""
    while (answer := await head(store)) is not None and answer.words[1].startswith("1"):
        to_client.write(answer.raw)
    return answer


async def body(reader: asyncio.StreamReader, of: Head, has_any: bool, to_end: bool = False):
    """The pieces of a body, chunked where it came so. One of unknown length is as long as the connection if `to_end`."""
    length = of.header(b"content-length")
    if not has_any:
        return
    if b"chunked" in (of.header(b"transfer-encoding") or b"").lower():
        size = None
        while size != 0:
            line = await reader.readuntil(b"\r\n")
            size = int(line.split(b";")[0], 16)
            yield line + await reader.readexactly(size + 2)
    elif length is not None:
        left = int(length)
        while left:
            piece = await reader.read(min(left, PIECE))
            if not piece:
                raise asyncio.IncompleteReadError(b"", left)
            left -= len(piece)
            yield piece
    elif to_end:
        while piece := await reader.read(PIECE):
            yield piece


async def main(store: int) -> None:
    proxy = Proxy(store)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await proxy.obey()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
