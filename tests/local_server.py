"""A server on this machine that serves files, and breaks off where a test asks for it."""
import http.server
import threading
from contextlib import contextmanager


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves files, from the middle where asked to; notes what it was asked for."""

    def do_GET(self):
        asked = self.headers.get('Range')
        self.server.ranges.append(asked)
        file = self.server.root / self.path.lstrip('/')
        if not file.is_file():
            return self.send_error(404)
        content = file.read_bytes()
        start = int(asked.removeprefix('bytes=').removesuffix('-')) if asked and self.server.resumes else 0
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:][:self.server.breaks_after])

    def log_message(self, *args):
        pass


@contextmanager
def serving(root):
    """A running server of the files in ``root``.

    It has ``url``, ``ranges`` (the Range header, or None, of each request so far), ``resumes`` (whether it heeds them)
    and ``breaks_after`` (bytes after which it hangs up, or None).
    """
    root.mkdir()
    with http.server.ThreadingHTTPServer(('127.0.0.1', 0), Handler) as server:
        server.root, server.ranges, server.resumes, server.breaks_after = root, [], True, None
        threading.Thread(target=server.serve_forever, args=(0.01, ), daemon=True).start()
        server.url = f'http://127.0.0.1:{server.server_port}'
        yield server
        server.shutdown()
