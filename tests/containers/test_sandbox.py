"""The sandbox where it runs on a cluster: in a container without root, without capabilities, under the default seccomp profile.

There the kernel gives no namespaces, and the sandbox stands on seccomp and Landlock alone.
"""

import json
import socket

import pytest

RUN = """
import json, os, sys, time
from pathlib import Path
from pada_agent.components.backends.sandbox.run import run_code, sandbox_canary
sandbox_canary()
Path("/tmp/of-the-stage").write_text("x")
programs = json.loads(sys.argv[1])
started = time.monotonic()
results = {name: run_code(program, 3.0) for name, program in programs.items()}
left = []
for process in Path("/proc").iterdir():
    if process.name.isdigit() and int(process.name) != os.getpid():
        left.append((process / "cmdline").read_text())
print(json.dumps({"results": {n: [r.passed, r.detail] for n, r in results.items()}, "left": left, "tmp": os.listdir("/tmp")}))
"""

HOLDS = {
    "right": "assert sum([1, 2]) == 3",
    "its environment is empty": "import os\nassert not os.environ and not open('/proc/self/environ').read()",
    "no library of ours": "import importlib.util as u\nassert not any(map(u.find_spec, ('torch', 'components', 'numpy')))",
    "no rights": (
        "import os\nstatus = dict(l.split(':', 1) for l in open('/proc/self/status'))\n"
        "assert os.getuid() == 10001 and int(status['CapEff'], 16) == int(status['CapBnd'], 16) == 0\n"
        "assert status['NoNewPrivs'].strip() == '1' and status['Seccomp'].strip() == '2'"
    ),
    "nothing outside of tmp is written": (
        "for place in ('/x', '/opt/pada/x', '/etc/x'):\n    try:\n        open(place, 'w')\n"
        "    except OSError:\n        continue\n    raise AssertionError(place)"
    ),
}
STOPPED = {
    "endless": "while True:\n    pass",
    "a child that stays": "import os, time\nif not os.fork():\n    os.setsid()\n    time.sleep(600)\ntime.sleep(600)",
    "too much memory": "x = bytearray(8 << 30)",
    "a file too large": "open('x', 'wb').write(bytes(64 << 20))",
    "too many processes": (
        "import os, time\nfor _ in range(5000):\n    if not os.fork():\n        time.sleep(600)\n        os._exit(0)"
    ),
    "early end": "import os\nos._exit(0)",
}
NOT_ITS_OWN = {
    "a file of the stage": "open('/tmp/of-the-stage')",
    "the environment of the stage, and the keys in it": "open('/proc/1/environ')",
    "the token that Kubernetes mounts": "open('/var/run/secrets/kubernetes.io/serviceaccount/token')",
    "a list of processes": "import os\nos.listdir('/proc')",
    "a signal to the stage": "import os\nos.kill(1, 0)",
    "a name server": "import socket\nsocket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53))",
    "namespaces of its own": "import os\nassert os.getpid() == 1",
}


@pytest.fixture
def sandboxed(engine, images):
    def run(programs, **how):
        environment = {"A_KEY": "secret-of-the-stage"}
        done = engine.run(images["slm"], ["python", "-c", RUN, json.dumps(programs)], environment=environment, **how)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run


def test_what_holds(sandboxed):
    told = sandboxed(HOLDS)
    assert {name: detail for name, (passed, detail) in told["results"].items() if not passed} == {}


def test_what_is_stopped_and_cleared_away(sandboxed):
    told = sandboxed(STOPPED)
    assert not [name for name, (passed, _) in told["results"].items() if passed]
    assert told["left"] == []
    assert told["tmp"] == ["of-the-stage"]


def test_what_is_the_stages_stays_the_stages(sandboxed, shared_folder):
    token = shared_folder / "token"
    token.write_text("of the account")
    mounts = {token: "/var/run/secrets/kubernetes.io/serviceaccount/token:ro"}
    told = sandboxed(NOT_ITS_OWN, mounts=mounts)
    assert [name for name, (passed, _) in told["results"].items() if passed] == []
    refused = [detail for _, detail in list(told["results"].values())[:-1]]
    assert all("PermissionError" in detail for detail in refused), refused


def test_the_network_of_the_pod_is_not_the_programs(sandboxed):
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 2)"
        passed, detail = sandboxed({"connect": program}, network="host")["results"]["connect"]
        assert not passed and "Operation not permitted" in detail
