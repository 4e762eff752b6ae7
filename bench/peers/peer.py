# peer.py - what the Python peers share: the command line, the workloads, measuring, the one line of JSON, the end.
#
# A peer is a subclass of Peer that says how its library opens, runs tasks and closes; measure() does the rest.
# The measuring process is a child of the one that was started. That one only waits: for the child, then for every
# process a library left behind, ends those that will not go, and removes the scratch folder. What libraries
# print goes to a temporary file and is dropped (noise=1: to standard error), never to standard output.
# It never imports a peer's library itself. Linux only.

import ctypes
import json
import math
import os
import shutil
import signal
import sys
import tempfile
import time

ABSENT, UNABLE = 77, 78  # exit statuses: the library is not installed; it cannot do such a workload
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
PATIENCE = 15  # seconds that processes may take to go once the measuring one has ended

# The harness's own values; a peer too slow for one names a smaller in its `defaults`.
WORKLOADS = {
    "flat": {"n": 1000000},
    "roundtrip": {"n": 10000},
    "nested": {"n": 27},
    "kernels": {"n": 1000, "ms": 7},
    "put": {"bytes": 100000000},
}


class Refusal(Exception):
    """Ends the program with a status and one line."""

    def __init__(self, status, line):
        super().__init__(line)
        self.status = status


# ---- the tasks: here and not in the program, so that libraries send them by name ------------------------------


def add(a, b):
    return a + b


def spin(ms):
    """Works for ms milliseconds of its thread's own time: being preempted does not make it cheaper."""
    end = time.thread_time() + ms / 1000
    while time.thread_time() < end:
        pass
    return 1


# ---- a peer -----------------------------------------------------------------------------------------------------


class Peer:
    name = None  # as reports call it
    defaults = {}  # workload -> values in place of those in WORKLOADS
    lacks = {}  # workload -> why this peer has no such thing
    warm = 2000  # tasks that are run before measuring

    def __init__(self, options, scratch):
        """Opens the library with options["workers"] workers; files go to the folder scratch. ImportError: absent."""
        raise NotImplementedError

    def run(self, function, arguments):
        """A task for each tuple in the list arguments, submitted by this program; a list of the results."""
        raise NotImplementedError

    def call(self, function, *arguments):
        """One task, submitted and got."""
        raise NotImplementedError

    def fib(self, n):
        """A task for each call, root included; the result of the root."""
        raise NotImplementedError

    def put(self, array):
        """A reference to a copy in the library's store."""
        raise NotImplementedError

    def get(self, reference):
        """The array again, without reading what is in it."""
        raise NotImplementedError

    def close(self):
        raise NotImplementedError


# ---- the workloads ------------------------------------------------------------------------------------------------


def check(got, wanted):
    if got != wanted:
        raise Refusal(1, f"wrong result: {got}, not {wanted}")


def timed(function, *arguments):
    begun = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - begun


def fib_and_calls(n):
    value, after, calls, calls_after = 0, 1, 1, 1
    for _ in range(n):
        value, after = after, value + after
        calls, calls_after = calls_after, calls + calls_after + 1
    return value, calls


def warm_up(peer, options):
    peer.run(spin, [(2,)] * (20 * options["workers"]))  # long enough that every worker gets some
    peer.run(add, [(i, 1) for i in range(peer.warm)])


def flat(peer, options):
    n = options["n"]
    warm_up(peer, options)
    arguments = [(i, 1) for i in range(n)]
    results, seconds = timed(lambda: sum(peer.run(add, arguments)))
    check(results, n * (n + 1) // 2)
    return {"count": n, "seconds": seconds}


def roundtrip(peer, options):
    n = options["n"]
    warm_up(peer, options)
    for _ in range(max(1, min(n, peer.warm) // 10)):
        check(peer.call(add, 1, 2), 3)
    times = []
    for _ in range(n):
        result, seconds = timed(peer.call, add, 1, 2)
        check(result, 3)
        times.append(seconds)
    times.sort()
    p50, p99 = (times[math.ceil(n * part) - 1] for part in (0.5, 0.99))
    return {"count": n, "seconds": sum(times), "p50": p50, "p99": p99}


def nested(peer, options):
    n = options["n"]
    value, calls = fib_and_calls(n)
    warm_up(peer, options)
    check(peer.fib(n), value)  # the same again: some libraries start workers for tasks that wait
    result, seconds = timed(peer.fib, n)
    check(result, value)
    return {"count": calls, "seconds": seconds}


def kernels(peer, options):
    n, ms, workers = options["n"], options["ms"], options["workers"]
    warm_up(peer, options)
    results, seconds = timed(lambda: sum(peer.run(spin, [(ms,)] * n)))
    check(results, n)
    return {"count": n, "seconds": seconds, "efficiency": n * ms / 1000 / workers / seconds}


def put(peer, options):
    import numpy

    size = options["bytes"]
    array = numpy.arange(size, dtype=numpy.uint8)
    for _ in range(4):  # the last counts, in memory that was used before
        reference, put_seconds = timed(peer.put, array)
        got, get_seconds = timed(peer.get, reference)
        check(numpy.array_equal(got, array), True)
        del reference, got
        time.sleep(0.5)  # libraries give memory back some time after
    seconds = put_seconds + get_seconds
    return {"count": 1, "seconds": seconds, "bytes": size, "put_seconds": put_seconds, "get_seconds": get_seconds}


# ---- the program ----------------------------------------------------------------------------------------------------


def options_of(peer, workload, words):
    options = {"workers": 2, "noise": 0, **WORKLOADS[workload], **peer.defaults.get(workload, {})}
    for word in words:
        key, _, value = word.partition("=")
        if key not in options:
            raise Refusal(2, f"{workload} has no option '{word}'")
        try:
            options[key] = float(value) if key == "ms" else int(value)
        except ValueError:
            raise Refusal(2, f"a number wanted: '{word}'") from None
        if not options[key] > 0 and key != "noise":
            raise Refusal(2, f"more than 0 wanted: '{word}'")
    return options


def measured(peer_class, words, scratch):
    if not words:
        raise Refusal(2, f"a workload wanted: {', '.join(WORKLOADS)}")
    workload = words[0]
    reason = peer_class.lacks.get(workload) if workload in WORKLOADS else f"no workload '{workload}'"
    if reason:
        raise Refusal(UNABLE, reason)
    options = options_of(peer_class, workload, words[1:])
    if not options["noise"]:
        with open(os.path.join(scratch, "noise"), "wb") as f:
            os.dup2(f.fileno(), 2)
    os.dup2(2, 1)
    try:
        peer = peer_class(options, scratch)
        try:
            result = globals()[workload](peer, options)
        finally:
            peer.close()
    except ImportError as e:
        raise Refusal(ABSENT, f"not installed: {e}") from None
    return {"workload": workload, **result, "rate": result["count"] / result["seconds"]}


def child(peer_class, words, scratch):
    """Measures; the status to exit with."""
    out, err = os.dup(1), os.dup(2)
    os.set_inheritable(out, False)
    os.set_inheritable(err, False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # through every `finally`
    parent = os.getppid()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if parent != os.getppid():
        return 1
    os.environ["TMPDIR"] = tempfile.tempdir = scratch
    try:
        line, status, to = json.dumps(measured(peer_class, words, scratch)), 0, out
    except Refusal as e:
        line, status, to = f"{peer_class.name}: {e}", e.status, err
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except Exception as e:
        what = " ".join(str(e).split())[:300]
        line, status, to = f"{peer_class.name}: {type(e).__name__}: {what} (noise=1 shows more)", 1, err
    os.write(to, (line + "\n").encode())
    return status


def children():
    with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as f:
        return [int(word) for word in f.read().split()]


def wait_for_all(name, pid):
    """Waits for the child pid, then until no process that came from it is left; the child's status as shells say it."""
    status = None
    while status is None:
        ended, how = os.waitpid(-1, 0)
        if ended == pid:
            status = os.waitstatus_to_exitcode(how)
    if status < 0:
        print(f"{name}: ended by signal {-status}", file=sys.stderr)
        status = 128 - status
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return status
        if time.monotonic() > deadline:
            for left in children():
                print(f"{name}: process {left} would not end and was killed", file=sys.stderr)
                os.kill(left, signal.SIGKILL)
        time.sleep(0.02)


def measure(peer_class, words):
    """The whole program. Never returns."""
    scratch = tempfile.mkdtemp(prefix="peer-", dir="/tmp")  # a short name: Unix sockets are made in it
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    pid = os.fork()
    if pid == 0:
        sys.exit(child(peer_class, words, scratch))
    signal.signal(signal.SIGTERM, lambda *_: os.kill(pid, signal.SIGTERM))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the terminal sends it to the child too
    try:
        status = wait_for_all(peer_class.name, pid)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    sys.exit(status)
