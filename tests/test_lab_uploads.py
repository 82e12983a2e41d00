"""`make lab` takes uploads to the explorer that are larger than the 10 MB of a server's default."""
import asyncio
import json
import secrets
import shlex
import urllib.request
import uuid
from urllib.error import URLError

import pytest
from conftest import ROOT, free_port, run, served
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect


def lab_options():
    """What `make lab` tells JupyterLab."""
    lines = run(["make", "-n", "-o", "setup", "lab"]).stdout.splitlines()
    command = next(shlex.split(line) for line in lines if line.startswith("jupyter lab"))
    return [word for word in command if word.startswith("--config")]


def ask(url, token, method="GET"):
    request = urllib.request.Request(url, b"{}" if method == "POST" else None,
                                     {"Authorization": f"token {token}"}, method=method)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.loads(answer.read() or "null")


async def send_code(url, token, code):
    """Run `code` in a kernel; its answer."""
    request = HTTPRequest(url, headers={"Authorization": f"token {token}"})
    socket = await websocket_connect(request, max_message_size=2**30)
    header = {"msg_id": uuid.uuid4().hex, "msg_type": "execute_request", "session": "s",
              "username": "u", "version": "5.3", "date": "2024-01-01T00:00:00Z"}
    await socket.write_message(json.dumps({
        "channel": "shell", "header": header, "parent_header": {}, "metadata": {},
        "content": {"code": code, "silent": False}}))
    status = "the connection was dropped"
    while (message := await socket.read_message()) is not None:
        message = json.loads(message)
        if message["header"]["msg_type"] == "execute_reply":
            status = message["content"]["status"]
            socket.close()  # and read on, until the server has closed it too
    return status


def test_a_large_upload_arrives(tmp_path):
    pytest.importorskip("jupyter_server")
    port, token = free_port(), secrets.token_hex(16)
    homes = {f"JUPYTER_{n}_DIR": str(tmp_path / n) for n in ("CONFIG", "DATA", "RUNTIME")}
    command = ["jupyter_server", *lab_options(), "--no-browser", "--allow-root", "--ip=127.0.0.1",
               f"--port={port}", "--ServerApp.port_retries=0",
               f"--IdentityProvider.token={token}", "--ServerApp.jpserver_extensions={}"]
    address = f"127.0.0.1:{port}/api"

    def ready():
        try:
            return ask(f"http://{address}/status", token)
        except (URLError, OSError):
            return False
    with served(command, ROOT, tmp_path / "lab.log", ready, **homes):
        kernel = ask(f"http://{address}/kernels", token, "POST")["id"]
        code = "#" + "x" * 12 * 10**6
        status = asyncio.run(asyncio.wait_for(
            send_code(f"ws://{address}/kernels/{kernel}/channels", token, code), 60))
        ask(f"http://{address}/kernels/{kernel}", token, "DELETE")
    assert status == "ok"
