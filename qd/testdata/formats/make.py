#!/usr/bin/env python3
"""Makes sample data folders with a qd of an earlier commit: see README.md.

    make.py QD FOLDER     FOLDER/stopped.tgz, FOLDER/killed.tgz and, if that qd can, FOLDER/takeover.tgz
"""

import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request

FOREVER = 900_000 * 3_600_000  # ms, a hundred years
COUNT = 40


class Daemon:
    def __init__(self, program, path):
        self.tcp, self.http = free_port(), free_port()
        known = subprocess.run([program, "--help"], capture_output=True, text=True)
        known = known.stdout + known.stderr
        flags = {
            "data-path": path, "tcp-address": f"127.0.0.1:{self.tcp}", "http-address": f"127.0.0.1:{self.http}",
            "mem-queue-size": 10, "max-req-timeout": "1000000h", "max-msg-timeout": "1h", "msg-timeout": "1h",
            "segment-bytes": 1 << 20, "max-bytes-per-file": 4096, "stop-timeout": "100ms", "https-address": "",
        }
        flags = [f"--{k}={v}" for k, v in flags.items() if f"--{k} " in known]
        self.logs = "--durability" in known
        self.log = tempfile.TemporaryFile()
        self.process = subprocess.Popen([program, *flags], stderr=self.log)
        for _ in range(200):
            try:
                self.post("/ping", get=True)
                return
            except OSError:
                time.sleep(0.05)
        self.log.seek(0)
        sys.exit(self.log.read().decode())

    def post(self, path, body=b"", get=False):
        request = urllib.request.Request(f"http://127.0.0.1:{self.http}{path}", data=None if get else body)
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def consume(self, topic, channel, count):
        """Takes messages, and returns the connection and their IDs."""
        s = socket.create_connection(("127.0.0.1", self.tcp))
        s.sendall(f"  V2SUB {topic} {channel}\nRDY {count}\n".encode())
        stream, ids = s.makefile("rb"), []
        while len(ids) < count:
            size, kind = struct.unpack(">ii", stream.read(8))
            data = stream.read(size - 4)
            if kind == 2:
                ids.append(data[10:26].decode())
        s.sendall(b"RDY 0\n")
        return s, ids

    def end(self, sign):
        time.sleep(1.5)  # what is written behind has been written
        self.process.send_signal(sign)
        if self.process.wait(30) not in (0, -signal.SIGKILL):
            sys.exit("qd has failed")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as s:
        return s.getsockname()[1]


def body(topic, n):
    return f"{topic} {n:02} {'.' * 40}".encode()


def fill(d):
    """What every sample has. formats_test.go expects exactly this."""
    open_connections = []
    why = "&reason=a+look&by=night+shift"
    for level in ["memory", "disk", "fsync"] if d.logs else ["memory"]:
        d.post(f"/topic/create?topic={level}&durability={level}&max_messages=1000")
        for channel in ["all", "some", "held"]:
            d.post(f"/channel/create?topic={level}&channel={channel}")
        d.post(f"/channel/pause?topic={level}&channel=held{why}")
        if d.logs:
            d.post(f"/channel/create?topic={level}&channel=dead&max_attempts=1")
            d.post(f"/channel/policy?topic={level}&channel=dead&max_attempts=1")
        for n in range(COUNT):
            d.post(f"/pub?topic={level}", body(level, n))
        d.post(f"/pub?topic={level}&defer={FOREVER}", body(level, 99))
        some, ids = d.consume(level, "some", 20)
        for i in ids[:10]:
            some.sendall(f"FIN {i}\n".encode())
        some.sendall(f"REQ {ids[10]} 0\nREQ {ids[11]} {FOREVER}\n".encode())
        open_connections.append(some)  # and holds the other eight
        if d.logs:
            dead, ids = d.consume(level, "dead", 3)
            for i in ids:
                dead.sendall(f"REQ {i} 0\n".encode())
            open_connections.append(dead)
        paused = f"{level}-paused"
        d.post(f"/topic/create?topic={paused}&durability={level}")
        d.post(f"/channel/create?topic={paused}&channel=c")
        d.post(f"/topic/pause?topic={paused}{why}")
        for n in range(5):
            d.post(f"/pub?topic={paused}", body(paused, n))
    return open_connections


def nsqd_data(path):
    """What nsqd 1.3.0 leaves: a topic with two channels, one of them paused."""
    channels = [{"name": "one", "paused": False}, {"name": "two", "paused": True}]
    with open(f"{path}/nsqd.dat", "w") as f:
        json.dump({"version": "1.3.0", "topics": [{"name": "old", "paused": False, "channels": channels}]}, f)
    for channel in channels:
        name = f"{path}/old:{channel['name']}.diskqueue"
        data = b""
        for n in range(COUNT):
            id = f"{0x0b00000000000000 + n:016x}".encode()
            message = struct.pack(">qH", 1_700_000_000 * 10**9 + n, 0) + id + body("old", n)
            data += struct.pack(">i", len(message)) + message
        with open(f"{name}.000000.dat", "wb") as f:
            f.write(data)
        with open(f"{name}.meta.dat", "w") as f:
            f.write(f"{COUNT}\n0,0\n0,{len(data)}\n")


def interrupt(path):
    """Puts things as a kill leaves them that comes right after the note is in place."""
    folders = sorted(os.listdir(f"{path}/topics"))
    for folder in folders:
        os.rename(f"{path}/topics/{folder}", f"{path}/topics/{folder}.staged")
    for aside, _, names in os.walk(f"{path}/nsqd-taken-over"):
        for name in names:
            os.rename(f"{aside}/{name}", f"{path}/{name}")
    shutil.rmtree(f"{path}/nsqd-taken-over")
    with open(f"{path}/nsqd-taken-over.json", "w") as f:
        json.dump({"folders": folders}, f)


def pack(path, folder, name):
    with tarfile.open(f"{folder}/{name}.tgz", "w:gz") as t:
        t.add(path, arcname=".", filter=anonymous)


def anonymous(entry):
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def main(program, folder):
    os.makedirs(folder, exist_ok=True)
    for how, sign in ("stopped", signal.SIGINT), ("killed", signal.SIGKILL):
        with tempfile.TemporaryDirectory() as path:
            d = Daemon(program, path)
            connections = fill(d)
            d.end(sign)
            for c in connections:
                c.close()
            pack(path, folder, how)
    if not d.logs:
        return
    with tempfile.TemporaryDirectory() as path:
        nsqd_data(path)
        Daemon(program, path).end(signal.SIGKILL)
        interrupt(path)
        pack(path, folder, "takeover")


main(*sys.argv[1:])
