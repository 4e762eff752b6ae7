# python_pools.py - the three pools of Python's own library as peers: python_pools.py PEER WORKLOAD [key=value ...]
#
# PEER is pool (multiprocessing.Pool), processes or threads (concurrent.futures). Every task is submitted by itself: no
# chunks. They never nest: see `lacks`. Runs with any python3, without packages.

import sys

import peer

NO_STORE = "no shared store: results are pickled through a pipe"


class Pool(peer.Peer):
    name = "multiprocessing.Pool"
    defaults = {"flat": {"n": 100000}}  # some 30,000 a second, and 1 KB for each task that waits
    lacks = {"nested": "a task may not start tasks: the pool cannot be sent to a worker", "put": NO_STORE}

    def __init__(self, options, _):
        import multiprocessing

        self.pool = multiprocessing.Pool(options["workers"])

    def run(self, function, arguments):
        submit = self.pool.apply_async
        return [future.get() for future in [submit(function, a) for a in arguments]]

    def call(self, function, *arguments):
        return self.pool.apply_async(function, arguments).get()

    def close(self):
        self.pool.terminate()
        self.pool.join()


class Executor(peer.Peer):
    def run(self, function, arguments):
        submit = self.executor.submit
        return [future.result() for future in [submit(function, *a) for a in arguments]]

    def call(self, function, *arguments):
        return self.executor.submit(function, *arguments).result()

    def close(self):
        self.executor.shutdown(cancel_futures=True)


class Processes(Executor):
    name = "ProcessPoolExecutor"
    defaults = {"flat": {"n": 50000}}  # some 10,000 a second
    lacks = {"nested": "a task may not start tasks: the executor cannot be sent to a worker", "put": NO_STORE}

    def __init__(self, options, _):
        from concurrent.futures import ProcessPoolExecutor

        self.executor = ProcessPoolExecutor(options["workers"])


class Threads(Executor):
    name = "ThreadPoolExecutor"
    defaults = {"flat": {"n": 200000}}  # some 50,000 a second
    lacks = {
        "nested": "a task that waits for tasks keeps its thread: all threads wait, for ever",
        "put": "no shared store, and none needed: threads share every object",
    }

    def __init__(self, options, _):
        from concurrent.futures import ThreadPoolExecutor

        self.executor = ThreadPoolExecutor(options["workers"])


PEERS = {"pool": Pool, "processes": Processes, "threads": Threads}

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in PEERS:
        sys.exit(f"usage: python_pools.py {'|'.join(PEERS)} WORKLOAD [key=value ...]")
    peer.measure(PEERS[sys.argv[1]], sys.argv[2:])
