"""This project on a port, a thread a request: `python -m idempotency.tests.project.serve 8000`."""

import sys
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from django.core.wsgi import get_wsgi_application


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 128


if __name__ == "__main__":
    application = get_wsgi_application()
    from idempotency.tests.project import faults, versions  # noqa: F401 - arm and install theirs

    port = int(sys.argv[1])
    make_server("127.0.0.1", port, application, Server, WSGIRequestHandler).serve_forever()
