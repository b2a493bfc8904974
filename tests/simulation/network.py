"""The network between workers and Redis: bytes take time, come in pieces, are cut off, or vanish.

The seam is a connection: above it runs the worker's own code from the login on, below it a real
server. A fault hits one message, which is what was written at once. Its id says which:
`up:<worker>.<connection>:<message>` on the way to Redis, `down:…` on the way back.
"""

from __future__ import annotations

import asyncio
import fcntl
import re
import select
import socket
import termios
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Protocol

import hiredis

from tests.simulation.dice import Dice, Faults
from tests.simulation.server import CLOCK, Replies, Server
from tests.simulation.timeline import EPOCH, Timeline

_BLOCKING = b"BLMOVE"
_CALL = b"FCALL"
_CLIENT_ID = re.compile(rb"(?<=\$2\r\nid\r\n:)\d+")
"""In the reply to HELLO. It has more digits in a server that has had more clients."""
_COST = 25e-6
"""Seconds that a command takes Redis."""
_LONGEST_DELAY = 4.0


class Host(Protocol):
    """Who has connections. name: of the process. latency: seconds each way."""

    name: str
    latency: float

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        ...

    @property
    def local(self) -> float:
        """Seconds since the world began: ahead of the world's where it is busy."""
        ...

    def enter(self, call: Callable[..., object], *args: object) -> None:
        """Have its loop call this in its next turn."""
        ...

    def tripped(self) -> None:
        """It has sent something."""
        ...


class Weather:
    """How likely each fault of a message is in this world; many have only some of them."""

    KINDS = ("late", "cut", "lost", "slow", "twice", "refused")

    def __init__(self, dice: Dice) -> None:
        self.chance = {
            kind: dice.skewed(0.01, 0.3, f"chance of {kind}")
            if dice.roll(f"has {kind}") < 0.65
            else 0.0
            for kind in self.KINDS
        }


class Network:
    """All connections, and how the server is.

    stepped: called after commands that may have changed something, with who sent them and the
    queue's name.
    """

    def __init__(
        self,
        timeline: Timeline,
        server: Server,
        dice: Dice,
        faults: Faults,
        stepped: Callable[[str, str], None],
    ) -> None:
        self.timeline = timeline
        self.server = server
        self.dice = dice
        self.faults = faults
        self.weather = Weather(dice)
        self.stepped = stepped
        self.refuses = False
        # When the server has done what it was given.
        self.free_at = 0.0
        # How far Redis's clock is ahead of the true one, in seconds.
        self.clock_off = 0.0
        self.storm_ends = 0.0
        # How often the server came back with the data of before.
        self.life = 0
        self._links: dict[int, Link] = {}
        self._half_open: list[Link] = []
        self._poll = select.epoll()

    @property
    def redis_ms(self) -> int:
        """What Redis's clock shows."""
        return round((EPOCH + self.timeline.now + self.clock_off) * 1000)

    async def connect(self, host: Host, number: int) -> Link:
        """A connection for this host, its `number`th. Raises OSError."""
        name = f"{host.name}.{number}"
        made: asyncio.Future[Link] = asyncio.get_running_loop().create_future()
        if self.faults.happens(f"connect:{name}", self.weather.chance["refused"]):
            kind = self.dice.pick(("refused", "silent"), f"connect:{name}:how")
        else:
            kind = "refused" if self.refuses else "made"
        if kind != "silent":
            there_and_back = 2 * host.latency
            arrive = partial(self._arrive, host, name, made, kind == "made")
            self.timeline.at(host.local + there_and_back, arrive)
        return await made

    def _arrive(self, host: Host, name: str, made: asyncio.Future[Link], is_made: bool) -> None:
        if not host.alive or made.done():
            return
        if is_made and not self.refuses:
            link = Link(self, host, name)
            self._links[link.descriptor] = link
            self._poll.register(link.descriptor, select.EPOLLIN)
            made.set_result(link)
        else:
            made.set_exception(ConnectionRefusedError(111, "Connection refused"))

    def forget(self, link: Link) -> None:
        """It is closed on the server's side."""
        # A later one may have its number by now.
        if self._links.get(link.descriptor) is link:
            del self._links[link.descriptor]
            self._poll.unregister(link.descriptor)
            link.real.close()
            self.settle()

    def links_of(self, host: Host | None = None) -> list[Link]:
        """Those of a host, or all, in the order in which they were made."""
        return [each for each in self._links.values() if host is None or each.host is host]

    def mend(self) -> None:
        """Whoever has a connection through which nothing comes learns of it."""
        for link in self._half_open:
            link.mend()
        self._half_open.clear()

    def goes_mute(self, link: Link) -> None:
        """One side of it may not learn that nothing comes through."""
        self._half_open.append(link)

    def settle(self) -> None:
        """Return when the server has read all that was sent to it, and written what it will."""
        # What it reads in one round of its loop has no order; the second round is behind all of it.
        self.server.control.ask(("PING",))
        self.server.control.ask(("PING",))

    def ask(self, *commands: tuple[Any, ...]) -> list[Any]:
        """Ask the server past the network; its clock is set before."""
        return self.server.control.ask(("PEXPIREAT", CLOCK, self.redis_ms), *commands)[1:]

    def tell_time(self) -> None:
        """Set Redis's clock."""
        self.ask()

    def look_around(self, actor: str, queue: str) -> None:
        """Something was done: see what has come of it, and for whom. queue: "" for all."""
        # The answer comes when the server has written all that it had to say before.
        self.stepped(actor, queue)
        if self.pump():
            self.stepped(actor, queue)

    def pump(self) -> list[Link]:
        """Pass on what the server says unasked, or at last; returns on which connections."""
        said: list[Link] = []
        while ready := self._poll.poll(0):
            links = [self._links[descriptor] for descriptor, _ in ready]
            for link in sorted(links, key=lambda each: each.order):
                link.read()
                said.append(link)
            self.settle()
        return said

    def cut_all(self, why: str, tell: Callable[[Link], bool]) -> None:
        """The server hangs up on everybody. tell: whether the client learns of it."""
        for link in self.links_of():
            link.hang_up(why, tell=tell(link))

    def close(self) -> None:
        """Drop all connections."""
        for link in self.links_of():
            self.forget(link)
        self._poll.close()


class Link(asyncio.Transport):
    """One connection of a host, with both ways of it."""

    def __init__(self, network: Network, host: Host, name: str) -> None:
        super().__init__()
        self.network = network
        self.host = host
        self.name = name
        self.real, self.client_id = network.server.connect()
        self.descriptor = self.real.fileno()
        self.order = self.client_id
        self.protocol: asyncio.Protocol | None = None
        self._requests = hiredis.Reader()
        self._replies = Replies()
        # Commands that the server has and has not answered, with the seconds that each may block.
        self._outstanding: deque[float] = deque()
        self._to_skip = 0
        self._sent = self._said = 0
        self._up_clear = self._down_clear = 0.0
        self._closed = self._is_lost = self.mute = False
        self._blocked = 0
        self._hears_by_itself = False

    # --- the worker's side --------------------------------------------------------------------

    def write(self, data: Any) -> None:
        """See asyncio.Transport."""
        self.writelines([data])

    def writelines(self, parts: Any) -> None:
        """See asyncio.Transport."""
        data = b"".join(parts)
        if not data or self._closed or self._is_lost or not self.host.alive:
            return
        self.host.tripped()
        self._sent += 1
        fault, now = f"up:{self.name}:{self._sent}", self.host.local
        arrive_at = max(now + self._flight(fault), self._up_clear)
        self._up_clear = arrive_at
        if self._happens("lost", fault):
            self._go_mute()
        if self.mute:
            return
        timeline = self.network.timeline
        if self._happens("cut", fault):
            length = self.network.dice.whole(0, len(data) - 1, f"{fault}:at")
            timeline.at(arrive_at, partial(self._arrived, data[:length]))
            self._break_at(arrive_at, fault)
        elif self._happens("slow", fault):
            for when, piece in self._pieces(data, arrive_at, fault):
                timeline.at(when, partial(self._arrived, piece))
                self._up_clear = when
        else:
            timeline.at(arrive_at, partial(self._arrived, data))

    def abort(self) -> None:
        """See asyncio.Transport."""
        if self._closed:
            return
        self._closed = True
        if not self._is_lost:
            self._lose(None)
        if not self.mute:
            self.end_at(max(self.host.local + self.host.latency, self._up_clear))

    def close(self) -> None:
        """See asyncio.Transport."""
        self.abort()

    def is_closing(self) -> bool:
        """See asyncio.Transport."""
        return self._closed or self._is_lost

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """See asyncio.Transport."""
        return default

    def died(self) -> None:
        """The worker has ended: the system closes its connections."""
        self._closed = self._is_lost = True
        if not self.mute:
            self.end_at(max(self.network.timeline.now + self.host.latency, self._up_clear))

    # --- on the way ---------------------------------------------------------------------------

    def _happens(self, kind: str, fault: str) -> bool:
        chance = self.network.weather.chance[kind]
        return chance > 0 and self.network.faults.happens(f"{fault}:{kind}", chance)

    def _flight(self, fault: str) -> float:
        """Seconds that a message takes."""
        seconds = self.host.latency * self.network.dice.between(0.8, 1.2, f"{fault}:flight")
        if self._happens("late", fault):
            seconds += self._delay(0.002, _LONGEST_DELAY, f"{fault}:late:by")
        return seconds

    def _delay(self, shortest: float, longest: float, name: str) -> float:
        """Seconds. What is under way at the end of a storm arrives soon after it."""
        now = max(self.network.timeline.now, self._up_clear, self._down_clear)
        left = max(0.0, self.network.storm_ends - now)
        longest = max(min(longest, left), shortest * 1.001)
        return self.network.dice.skewed(shortest, longest, name)

    def _pieces(self, data: bytes, at: float, fault: str) -> list[tuple[float, bytes]]:
        many = self.network.dice.whole(2, 8, f"{fault}:pieces")
        size = max(1, len(data) // many)
        gap = self._delay(0.001, 3.2, f"{fault}:gap") / many
        starts = range(0, len(data), size)
        return [(at + i * gap, data[start : start + size]) for i, start in enumerate(starts)]

    def _break_at(self, when: float, fault: str) -> None:
        """The connection breaks then. The worker may not be told, and the server neither."""
        told = self.network.dice.pick(("both", "both", "worker", "server"), f"{fault}:told")
        self._go_mute()
        if told != "worker":
            self.end_at(when)
        if told != "server":
            self.network.timeline.at(when + self.host.latency, self._reset)

    def _reset(self) -> None:
        if self.host.alive and not self._is_lost:
            self._lose(ConnectionResetError(104, "Connection reset by peer"))

    def _lose(self, why: Exception | None) -> None:
        self._is_lost = True
        self.host.enter(self._tell_lost, why)

    def _tell_lost(self, why: Exception | None) -> None:
        if self.protocol is not None:
            self.protocol.connection_lost(why)

    def hang_up(self, _why: str, *, tell: bool) -> None:
        """The server ends it."""
        if tell:
            self.network.timeline.after(self.host.latency, self._reset)
        self._go_mute()
        self.network.forget(self)

    def _go_mute(self) -> None:
        if not self.mute:
            self.mute = True
            self.network.goes_mute(self)

    def mend(self) -> None:
        """Both ends learn by now that nothing comes through."""
        self._reset()
        self.network.forget(self)

    # --- the server's side --------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether the server has it."""
        return self.real.fileno() >= 0

    def end_at(self, when: float) -> None:
        """The server learns then that the worker has hung up, behind what it has received."""
        network = self.network

        def closed() -> None:
            network.timeline.at(max(network.timeline.now, network.free_at), end)

        def end() -> None:
            network.forget(self)

        network.timeline.at(when, closed)

    def _arrived(self, data: bytes) -> None:
        if not self.is_open:
            return
        self._requests.feed(data)
        commands: list[list[bytes]] = []
        while command := self._requests.gets():
            commands.append(command)
        if commands:
            self.run_later(commands)
            if commands[-1][0] == _CALL and not self._outstanding:
                self._maybe_twice(commands)

    def _maybe_twice(self, commands: list[list[bytes]]) -> None:
        fault = f"up:{self.name}:{self._sent}"
        if self._happens("twice", fault):
            seconds = self.network.dice.skewed(0.001, 3.0, f"{fault}:twice:after")
            ghost = Ghost(self.network, self.host)
            self.network.timeline.after(seconds, lambda: ghost.run(commands))

    def run_later(self, commands: list[list[bytes]]) -> None:
        """As soon as the server has done what came before."""
        network = self.network
        start = max(network.timeline.now, network.free_at)
        network.free_at = start + _COST * len(commands)
        network.timeline.at(start, partial(self._run, commands))

    def _run(self, commands: list[list[bytes]]) -> None:
        if not self.is_open:
            return
        network = self.network
        self.real.setblocking(True)
        self._hears_by_itself = self._hears_by_itself or any(map(_asks_to_hear, commands))
        if self._outstanding or self._hears_by_itself:
            network.tell_time()
        else:
            # In the same breath. Behind a command that blocks, it would be set when that is over;
            # and before the reply to it, there may be something else to hear.
            self.real.sendall(_packed([[b"PEXPIREAT", CLOCK, b"%d" % network.redis_ms]]))
            self._to_skip += 1
            self._outstanding.append(0.0)
        self.real.sendall(_packed(commands))
        for command in commands:
            blocks = command[0] == _BLOCKING
            self._outstanding.append(float(command[-1]) if blocks else 0.0)
        data = b""
        while self._outstanding and not any(self._outstanding):
            data += self._counted(self.real.recv(1 << 20))
        # As one, in however many pieces the server wrote it.
        self._hear(data)
        self.real.setblocking(False)
        if self._outstanding:
            while _is_unread(self.real):
                # What is longer than its buffer, the server reads in several rounds of its loop.
                network.settle()
            network.settle()
            self.read()
            self._let_go_in_time()
            network.pump()
        if any(command[0] == _CALL for command in commands):
            network.look_around(self.host.name, _queue_of(commands))

    def read(self) -> None:
        """Pass on what there is, as one, in however many pieces the server wrote it."""
        data, is_over = b"", not self.is_open
        while not is_over:
            try:
                piece = self.real.recv(1 << 20)
            except BlockingIOError:
                break
            is_over = not piece
            data += self._counted(piece) if piece else b""
        self._hear(data)
        if is_over and self.is_open:
            self.hang_up("the server hung up", tell=True)

    def _counted(self, data: bytes) -> bytes:
        if not data:
            raise ConnectionError("the server has ended")
        for _ in self._replies.read(data):
            self._outstanding.popleft()
            self._blocked += 1
        return data

    def _hear(self, data: bytes) -> None:
        if data and self._to_skip:
            self._to_skip -= 1
            data = data[data.index(b"\r\n") + 2 :]
        if data and not self._said:
            data = _CLIENT_ID.sub(b"1", data, count=1)
        if data:
            self._pass_on(data)

    def _let_go_in_time(self) -> None:
        """A command that blocks ends when its time is up, by the world's clock."""
        if not (self._outstanding and self._outstanding[0]):
            return
        turn = self._blocked

        def let_go() -> None:
            if self.is_open and self._blocked == turn and self._outstanding:
                self.network.tell_time()
                self.network.server.control.ask(("CLIENT", "UNBLOCK", self.client_id))
                self.network.look_around(self.host.name, "")

        self.network.timeline.after(self._outstanding[0], let_go)

    def _pass_on(self, data: bytes) -> None:
        if self.mute:
            return
        network = self.network
        self._said += 1
        fault = f"down:{self.name}:{self._said}"
        left_at = max(network.timeline.now, network.free_at)
        arrive_at = max(left_at + self._flight(fault), self._down_clear)
        self._down_clear = arrive_at
        if self._happens("lost", fault):
            self._go_mute()
            return
        if self._happens("cut", fault):
            data = data[: network.dice.whole(0, len(data) - 1, f"{fault}:at")]
            network.timeline.at(arrive_at, partial(self._reach, data))
            self._break_at(arrive_at, fault)
        elif self._happens("slow", fault):
            for when, piece in self._pieces(data, arrive_at, fault):
                network.timeline.at(when, partial(self._reach, piece))
                self._down_clear = when
        else:
            network.timeline.at(arrive_at, partial(self._reach, data))

    def _reach(self, data: bytes) -> None:
        if data and self.host.alive and not self._is_lost:
            self.host.enter(self._tell, data)

    def _tell(self, data: bytes) -> None:
        if self.protocol is not None and not self._closed:
            self.protocol.data_received(data)


class Ghost:
    """A message that comes once more, by another way, and whose answer nobody hears.

    Not to a Redis with data of before: there the message may be the one that is expected.
    """

    def __init__(self, network: Network, host: Host) -> None:
        self._network = network
        self._host = host
        self._life = network.life

    def run(self, commands: list[list[bytes]]) -> None:
        """Send them."""
        network = self._network
        if network.refuses or network.life != self._life:
            return
        network.tell_time()
        real, _ = network.server.connect()
        real.setblocking(True)
        try:
            real.sendall(_packed(commands))
            replies, read = Replies(), 0
            while read < len(commands):
                read += len(replies.read(_received(real)))
        finally:
            real.close()
        network.look_around(self._host.name, _queue_of(commands))


def _is_unread(real: socket.socket) -> bool:
    """Whether the server has not read all that was sent to it."""
    return any(fcntl.ioctl(real, termios.TIOCOUTQ, bytes(4)))


def _received(real: socket.socket) -> bytes:
    data = real.recv(1 << 20)
    if not data:
        raise ConnectionError("the server has ended")
    return data


def _packed(commands: Sequence[Sequence[bytes]]) -> bytes:
    packed = b""
    for each in commands:
        said: tuple[Any, ...] = (*each[:-1], b"0") if each[0] == _BLOCKING else tuple(each)
        packed += hiredis.pack_command(said)
    return packed


def _asks_to_hear(command: list[bytes]) -> bool:
    return command[0] == b"SUBSCRIBE" or command[:2] == [b"CLIENT", b"TRACKING"]


def _queue_of(commands: list[list[bytes]]) -> str:
    """The queue that a function works on: its first key."""
    for command in commands:
        if command[0] == _CALL and len(command) > 3:
            return command[3].decode()
    return ""
