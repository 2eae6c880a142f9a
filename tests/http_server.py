"""Servers on this machine for tests: each test says what they answer."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class QuietHandler(BaseHTTPRequestHandler):
    """Lets ``respond`` answer requests, and logs nothing; what the server was given is at ``self.server.content``."""

    def respond(self):
        """Answer a request, by `send` or not at all."""
        raise NotImplementedError

    def do_GET(self):
        self.respond()

    def do_POST(self):
        self.respond()

    def log_message(self, format, *args):
        pass

    def read_body(self):
        """Return what was sent; less than was announced when who sent it was killed meanwhile."""
        return self.rfile.read(int(self.headers["Content-Length"]))

    def send(self, body, status=200, headers=None, length=None):
        """Answer; ``length`` is what is announced where that is not the truth."""
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body) if length is None else length)}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    content = None
    is_silent = False

    def handle_error(self, *request):
        if not self.is_silent:
            super().handle_error(*request)


@contextmanager
def serve(handler, content=None, *, is_silent=False):
    """Serve until the block ends; yields the base address, without a slash at its end.

    ``is_silent`` is for servers whose clients are killed, or who break connections themselves: nothing is told then.
    """
    server = _Server(("127.0.0.1", 0), handler)
    server.content, server.is_silent = content, is_silent
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
