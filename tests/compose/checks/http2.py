"""Says whether a server takes a call: `python3 http2.py ADDRESS PORT METHOD [NAME CA [CERTIFICATE KEY]]`.

Without a name it uses plain text, with a name TLS. Prints `taken`, or `refused` and by what. Runs alone,
inside another container's network namespace.
"""

import socket
import ssl
import sys

# The client's preface: https://www.rfc-editor.org/rfc/rfc9113#section-3.4
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS = 1, 4
END_STREAM, END_HEADERS = 1, 4
# A refusal comes at once; a call that is taken may stay without an answer until it has said something.
PATIENCE = 3


def frame(kind, flags, stream, payload):
    return len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload


def text(value):
    return bytes([len(value)]) + value.encode()


def call(method):
    """The head of a gRPC call. Numbers are indices of https://www.rfc-editor.org/rfc/rfc7541#appendix-A"""
    post, https, path, authority = bytes([0x83]), bytes([0x87]), bytes([0x04]), bytes([0x01])
    content_type, te = bytes([0x0F, 31 - 15]), bytes([0x00]) + text("te")
    head = post + https + path + text(method) + authority + text("check")
    return head + content_type + text("application/grpc") + te + text("trailers")


def tls(connection, name, authority, own):
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    if own:
        context.load_cert_chain(*own)
    return context.wrap_socket(connection, server_hostname=name)


def read(connection, length):
    found = b""
    while len(found) < length:
        more = connection.recv(length - len(found))
        if not more:
            raise ConnectionError("the connection was closed")
        found += more
    return found


def answer(connection, method):
    connection.sendall(PREFACE + frame(SETTINGS, 0, 0, b"") + frame(HEADERS, END_HEADERS, 1, call(method)))
    greeted = False
    while True:
        try:
            head = read(connection, 9)
        except TimeoutError:
            return "taken" if greeted else "refused: nothing was said"
        read(connection, int.from_bytes(head[:3], "big"))
        kind, flags = head[3], head[4]
        greeted = greeted or kind == SETTINGS
        if kind == HEADERS:
            # An answer that is over with its head is a status.
            return "refused: by a status" if flags & END_STREAM else "taken"


def main(address, port, method, name=None, authority=None, *own):
    try:
        with socket.create_connection((address, int(port)), timeout=10) as connection:
            if name:
                connection = tls(connection, name, authority, own)
            connection.settimeout(PATIENCE)
            print(answer(connection, method))
    except OSError as error:
        print(f"refused: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
