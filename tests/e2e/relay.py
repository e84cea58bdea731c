"""A stretch of network between the nodes that a test can cut: relays in front of both nodes' link ports."""

import select
import socket
import threading

from pair import draw_ports, host_port


class Relay:
    """Passes TCP connections on, from an address that it listens on to another."""

    def __init__(self, listen, target):
        self.target = target
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(host_port(listen))
        self.listener.listen(64)
        self.wake, self.waker = socket.socketpair()
        self.mode = "pass"
        self.peers = {}    # socket -> the one to pass on to
        self.unsent = {}   # socket -> bytes that it has yet to take
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def set(self, mode):
        """pass; cut: connections are closed and refused; stall: nothing passes and nothing is closed."""
        self.mode = mode
        self.waker.send(b"!")

    def close(self):
        self.set("end")
        self.thread.join(10)
        for each in list(self.peers) + [self.listener, self.wake, self.waker]:
            each.close()

    def drop(self, one):
        other = self.peers.pop(one, None)
        self.peers.pop(other, None)
        for each in (one, other):
            self.unsent.pop(each, None)
            if each:
                each.close()

    def accept(self):
        one, _ = self.listener.accept()
        if self.mode == "cut":
            one.close()
            return
        try:
            other = socket.create_connection(host_port(self.target), timeout=5)
        except OSError:
            one.close()
            return
        for each in (one, other):
            each.setblocking(False)
            each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.unsent[each] = b""
        self.peers[one], self.peers[other] = other, one

    def run(self):
        while self.mode != "end":
            passing = self.mode == "pass"
            readable = [self.wake, self.listener] + \
                       [one for one, other in self.peers.items() if passing and not self.unsent[other]]
            writable = [one for one in self.peers if passing and self.unsent[one]]
            ready, sendable, _ = select.select(readable, writable, [], 1)
            if self.wake in ready:
                self.wake.recv(100)
                if self.mode == "cut":
                    for one in list(self.peers):
                        self.drop(one)
                continue  # by what is now to be done
            if self.listener in ready:
                self.accept()
            for one in ready:
                if one in self.peers:
                    self.take(one)
            for one in sendable:
                if one in self.peers:
                    self.give(one)

    def take(self, one):
        try:
            got = one.recv(65536)
        except OSError:
            got = b""
        if not got:
            self.drop(one)
            return
        other = self.peers[one]
        self.unsent[other] = got
        self.give(other)

    def give(self, one):
        try:
            self.unsent[one] = self.unsent[one][one.send(self.unsent[one]):]
        except BlockingIOError:
            pass
        except OSError:
            self.drop(one)


class Network:
    """Relays in both directions between the nodes of a pair; both are restarted for it."""

    def __init__(self, pair):
        self.relays = []

        def put_between():
            # Each node moves to another port; what its peer knows is where the relay stands now.
            for node in pair.nodes:
                moved = f"127.0.0.1:{draw_ports(1)[0]}"
                node.configure("link", listen=[moved], address=node.link)
                self.relays.append(Relay(node.link, moved))
        pair.restart(put_between)

    def set(self, mode):
        for relay in self.relays:
            relay.set(mode)

    def close(self):
        for relay in self.relays:
            relay.close()
