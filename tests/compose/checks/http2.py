"""Says whether a server speaks HTTP/2 with whoever calls: `python3 http2.py ADDRESS PORT [NAME CA [CERTIFICATE KEY]]`.

Without a name in plain text, with it over TLS. Runs alone, inside another container's network namespace.
"""

import socket
import ssl
import sys

# The client's preface and an empty SETTINGS frame: https://www.rfc-editor.org/rfc/rfc9113#section-3.4
HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])


def tls(connection, name, authority, own):
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2"])
    if own:
        context.load_cert_chain(*own)
    return context.wrap_socket(connection, server_hostname=name)


def answer(address, port, name=None, authority=None, *own):
    with socket.create_connection((address, int(port)), timeout=10) as connection:
        if name:
            connection = tls(connection, name, authority, own)
        connection.sendall(HELLO)
        # A server that refuses a certificate under TLS 1.3 says so only after the handshake.
        return connection.recv(9)


def main():
    try:
        frame = answer(*sys.argv[1:])
    except OSError as error:
        print(f"refused: {error}")
        return
    print("spoken" if frame[3:4] == b"\x04" else f"refused: {len(frame)} bytes that are no SETTINGS frame")


if __name__ == "__main__":
    main()
