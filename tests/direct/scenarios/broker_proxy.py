# SPDX-License-Identifier: MIT
"""Brokers behind proxies: connections that stall or are cut, and how many requests of each kind come."""

from __future__ import annotations

import asyncio
import collections
import struct
import threading

from cluster import Cluster, Node, free_ports

FETCH, LIST_OFFSETS, METADATA, LEADER_EPOCH = 1, 2, 3, 23


class BrokerProxy:
    """What connects to `port` speaks to the broker, as long as it may. Thread-safe."""

    def __init__(self, broker_port: int, loop: asyncio.AbstractEventLoop) -> None:
        self.requests: collections.Counter[int] = collections.Counter()
        """That came, by the key of their kind."""
        self._broker_port = broker_port
        self._loop = loop
        self._writers: set[asyncio.StreamWriter] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._server = self._call(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def stall(self) -> None:
        """From now on nothing arrives, on either side; connections stay open and are accepted."""
        self._loop.call_soon_threadsafe(self._flows.clear)

    def resume(self) -> None:
        self._loop.call_soon_threadsafe(self._flows.set)

    def cut(self) -> None:
        """Ends all connections there are, in the middle of whatever they carry."""
        self._call(self._cut())

    def _call(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)

    async def _cut(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._broker_port)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_broker}
        await asyncio.gather(self._pass(reader, to_broker, counts=True), self._pass(from_broker, writer, counts=False))
        self._writers -= {writer, to_broker}

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, counts: bool) -> None:
        unread = bytearray()
        try:
            while piece := await source.read(65536):
                if counts:
                    unread += piece
                    self._count(unread)
                await self._flows.wait()
                sink.write(piece)
                await sink.drain()
        except OSError:
            pass
        sink.close()

    def _count(self, unread: bytearray) -> None:
        """Counts the whole requests that it begins with, and takes them off it."""
        while len(unread) >= 6:
            size, key = struct.unpack_from(">ih", unread)
            if len(unread) < 4 + size:
                break
            del unread[:4 + size]
            self.requests[key] += 1


class ProxiedCluster(Cluster):
    """A cluster whose members under test reach each node through its proxy; the tests themselves do not."""

    def __init__(self, **settings) -> None:
        super().__init__(**settings)
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True, name="proxies").start()
        self._ports = free_ports(settings.get("nodes", 1))
        self._proxies = [BrokerProxy(port, self._loop) for port in self._ports]

    def proxy(self, node: int) -> BrokerProxy:
        return self._proxies[node - 1]

    @property
    def addresses_for_members(self) -> str:
        return ",".join(f"127.0.0.1:{proxy.port}" for proxy in self._proxies)

    def requests(self) -> collections.Counter[int]:
        """That came to all nodes so far."""
        return sum((collections.Counter(proxy.requests) for proxy in self._proxies), collections.Counter())

    def _server_properties(self, node: Node, nodes: list[Node]) -> str:
        listener = f"PROXIED://127.0.0.1:{self._ports[node.id - 1]}"
        advertised = f"PROXIED://127.0.0.1:{self.proxy(node.id).port}"
        more = {"listeners": listener, "advertised.listeners": advertised,
                "listener.security.protocol.map": "PROXIED:PLAINTEXT"}
        lines = []
        for line in super()._server_properties(node, nodes).splitlines():
            key, _, value = line.partition("=")
            lines.append(f"{key}={value},{more[key]}" if key in more else line)
        return "\n".join(lines) + "\n"
