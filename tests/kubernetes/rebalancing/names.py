"""A DNS server whose names have as many addresses as a test says, and other ones a moment later."""

import socket
import socketserver
import struct
import threading

A, AAAA, INTERNET = 1, 28, 1
ANSWER, AUTHORITATIVE, RECURSION_DESIRED, NO_SUCH_NAME = 0x8000, 0x0400, 0x0100, 3


class Names:
    """What a headless Service is on Kubernetes: a name with an A record for each replica that is ready."""

    def __init__(self, address):
        self.addresses = {}
        self.server = socketserver.UDPServer((address, 53), self.handler())
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def handler(names):
        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                query, back = self.request
                back.sendto(names.answer(query), self.client_address)

        return Handler

    def answer(self, query):
        number, flags, *_ = struct.unpack("!6H", query[:12])
        name, question = question_of(query)
        kind = struct.unpack("!H", question[-4:-2])[0]
        found = self.addresses.get(name)
        flags = ANSWER | AUTHORITATIVE | flags & RECURSION_DESIRED | (NO_SUCH_NAME if found is None else 0)
        records = [record(address) for address in found or ()] if kind == A else []
        return struct.pack("!6H", number, flags, 1, len(records), 0, 0) + question + b"".join(records)

    def add(self, name, address):
        self.addresses[name] = (*self.addresses.get(name, ()), address)

    def remove(self, name, address):
        self.addresses[name] = tuple(known for known in self.addresses[name] if known != address)


def question_of(query):
    """The name that is asked for, and the question as it stands."""
    labels, position = [], 12
    while length := query[position]:
        labels.append(query[position + 1 : position + 1 + length].decode())
        position += 1 + length
    return ".".join(labels).lower(), query[12 : position + 5]


def record(address):
    """An A record for the name of the question, not to be kept by anybody."""
    return struct.pack("!HHHIH4s", 0xC00C, A, INTERNET, 0, 4, socket.inet_aton(address))
