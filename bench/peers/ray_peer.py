# ray_peer.py - Ray as a peer: ray_peer.py WORKLOAD [key=value ...], with the Python that has Ray
#
# One node on this machine, on the loopback address, as many CPUs as workers, no dashboard, no statistics sent. It
# never joins a cluster that runs already. (Not called ray.py: `import ray` would find it.)

import os
import sys

import peer


class Ray(peer.Peer):
    name = "Ray"
    # A few thousand tasks a second. A task that waits gives its CPU back and Ray starts a process for another: fib(27)
    # would need thousands of processes.
    defaults = {"flat": {"n": 20000}, "roundtrip": {"n": 2000}, "nested": {"n": 7}}

    def __init__(self, options, scratch):
        for variable in ("RAY_ADDRESS", "RAY_NAMESPACE"):
            os.environ.pop(variable, None)
        os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
        import ray

        self.ray, self.remotes = ray, {}
        ray.init(
            address="local",
            num_cpus=options["workers"],
            num_gpus=0,
            include_dashboard=False,
            log_to_driver=False,
            object_store_memory=max(10**9, 6 * options.get("bytes", 0)),
            _node_ip_address="127.0.0.1",
            _temp_dir=scratch,
        )

    def remote(self, function):
        if function not in self.remotes:
            self.remotes[function] = self.ray.remote(function)
        return self.remotes[function]

    def run(self, function, arguments):
        submit = self.remote(function).remote
        return self.ray.get([submit(*a) for a in arguments])

    def call(self, function, *arguments):
        return self.ray.get(self.remote(function).remote(*arguments))

    def fib(self, n):
        return self.call(fib, n)

    def put(self, array):
        return self.ray.put(array)

    def get(self, reference):
        return self.ray.get(reference)

    def close(self):
        self.ray.shutdown()


def fib(n):
    import ray

    if n < 2:
        return n
    task = ray.remote(fib)
    return sum(ray.get([task.remote(n - 1), task.remote(n - 2)]))


if __name__ == "__main__":
    peer.measure(Ray, sys.argv[1:])
