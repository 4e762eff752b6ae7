# dask_peer.py - Dask's distributed scheduler as a peer: dask_peer.py WORKLOAD [key=value ...], with the Python that
# has it
#
# Worker processes of one thread each, on the loopback address, no dashboard. worker-saturation is inf: by default the
# scheduler holds short tasks back, which costs two thirds of the throughput. Tasks are never `pure`: equal calls would
# be one task. (Not called dask.py: `import dask` would find it.)

import sys

import peer


class Dask(peer.Peer):
    name = "Dask"
    defaults = {"flat": {"n": 10000}, "roundtrip": {"n": 500}, "nested": {"n": 11}}  # one or two thousand a second

    def __init__(self, options, scratch):
        import dask
        from distributed import Client, LocalCluster

        dask.config.set({"distributed.scheduler.worker-saturation": "inf"})
        self.cluster = LocalCluster(
            n_workers=options["workers"],
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=scratch,
        )
        self.client = Client(self.cluster)

    def run(self, function, arguments):
        return self.client.gather(self.client.map(function, *zip(*arguments), pure=False))

    def call(self, function, *arguments):
        return self.client.submit(function, *arguments, pure=False).result()

    def fib(self, n):
        return self.call(fib, n)

    def put(self, array):
        return self.client.scatter(array, hash=False)  # hashing 100 MB would be most of it

    def get(self, reference):
        return reference.result()

    def close(self):
        self.client.close()
        self.cluster.close()


def fib(n):
    from distributed import worker_client

    if n < 2:
        return n
    with worker_client() as client:
        return sum(client.gather([client.submit(fib, n - i, pure=False) for i in (1, 2)]))


if __name__ == "__main__":
    peer.measure(Dask, sys.argv[1:])
