"""Taking a port, so that it fails where it must."""

from __future__ import annotations

import errno
import socket

_BACKLOG = 1024
_KERNEL_BUFFER = 64 * 1024
NO_SUCH_ADDRESS = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen on all addresses of `host`. Raises OSError where one is taken.

    They listen at once: of two sockets that are only bound, Linux lets both have the port.
    """
    if not host:
        return [_listen_everywhere(port)]
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    addresses = dict.fromkeys((info[0], str(info[4][0])) for info in found)
    sockets: list[socket.socket] = []
    try:
        missing = [_listen_on(address, family, port, sockets) for family, address in addresses]
    except OSError:
        for sock in sockets:
            sock.close()
        raise
    if not sockets:
        raise next(error for error in missing if error)
    return sockets


def _listen_on(
    address: str, family: socket.AddressFamily, port: int, sockets: list[socket.socket]
) -> OSError | None:
    # Port 0 must become the same port on all addresses.
    port = sockets[0].getsockname()[1] if sockets else port
    try:
        sockets.append(_nonblocking(address, port, family))
    except OSError as error:
        # `localhost` often has an IPv6 address where IPv6 is switched off: the other will do.
        if error.errno not in NO_SUCH_ADDRESS:
            raise
        return error
    return None


def _listen_everywhere(port: int) -> socket.socket:
    if socket.has_dualstack_ipv6():
        try:
            return _nonblocking("", port, socket.AF_INET6, dualstack=True)
        except OSError as error:
            if error.errno not in NO_SUCH_ADDRESS:
                raise
    return _nonblocking("", port, socket.AF_INET)


def _nonblocking(
    address: str, port: int, family: socket.AddressFamily, *, dualstack: bool = False
) -> socket.socket:
    # SO_REUSEADDR is set by the library, SO_REUSEPORT isn't: a taken port must be an error.
    sock = socket.create_server(
        (address, port), family=family, backlog=_BACKLOG, dualstack_ipv6=dualstack
    )
    # Accepted sockets inherit these. By itself the kernel would keep megabytes for each client
    # that asks much and reads nothing.
    for buffer in (socket.SO_SNDBUF, socket.SO_RCVBUF):
        sock.setsockopt(socket.SOL_SOCKET, buffer, _KERNEL_BUFFER)
    # The end of an answer doesn't wait until the client has confirmed the answer before.
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock
