"""What passes between the program and an S3 server, as a proxy before it counts. The proxy is a process of its own: what it
takes is not this one's, below whose size no peak can be measured."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from measure import Failed

PROXY = Path(__file__).with_name("counting_proxy.py")


@dataclass
class Traffic:
    """`requests` by method and kind of object, such as `GET log`; `up` and `down` are bytes of bodies."""

    requests: Counter[str] = field(default_factory=Counter)
    up: int = 0
    down: int = 0
    # Answers of 500 and above: what is measured then is not the program.
    errors: int = 0


class CountingProxy:
    """A proxy that runs; what others call of it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = int(process.stdout.readline() or 0)
        if not self.port:
            raise Failed("the proxy did not start")

    def delay(self, seconds: float) -> None:
        """Lets every request from now on take that much longer, those at the same time side by side."""
        self._ask(f"delay {seconds}")

    def take(self) -> Traffic:
        """What passed since this was last called."""
        counted = self._ask("take")
        return Traffic(**{**counted, "requests": Counter(counted["requests"])})

    def _ask(self, command: str) -> dict:
        print(command, file=self._process.stdin, flush=True)
        answer = self._process.stdout.readline()
        if not answer:
            raise Failed("the proxy ended")
        return json.loads(answer)


@contextmanager
def counted(store: int) -> Iterator[CountingProxy]:
    """A proxy before that port, as long as the context lasts."""
    command = [sys.executable, PROXY, str(store)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield CountingProxy(process)
    finally:
        process.kill()
        process.wait()
