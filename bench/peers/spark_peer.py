# spark_peer.py - Spark local[workers] as a peer: spark_peer.py WORKLOAD [key=value ...], with the Python that has pyspark
#
# A task of Spark is a partition of a job: n tasks are a job of n partitions of one element. On the loopback
# address, without its web pages. The JVM talks to its Python workers over Unix sockets: over TCP, the default, every
# task waits 40 ms for a delayed acknowledgement (40 tasks a second). Needs a Java runtime, 17 or newer: absent without.

import os
import shutil
import sys

import peer


class Spark(peer.Peer):
    name = "Spark"
    defaults = {"flat": {"n": 2000}, "roundtrip": {"n": 200}}  # some 200 tasks, some tens of jobs a second
    lacks = {
        "nested": "a task may not start tasks: only the driver has a SparkContext",
        "put": "no store to put to and get from: broadcast variables go one way, to the tasks",
    }
    warm = 500

    def __init__(self, options, scratch):
        from pyspark import SparkConf, SparkContext

        home = os.environ.get("JAVA_HOME")
        if not (shutil.which(f"{home}/bin/java") if home else shutil.which("java")):
            raise ImportError("no Java runtime")
        os.environ["SPARK_LOCAL_IP"] = "127.0.0.1"
        os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        conf = SparkConf().setMaster(f"local[{options['workers']}]").setAppName("peer")
        conf.set("spark.ui.enabled", "false").set("spark.local.dir", scratch)
        conf.set("spark.driver.host", "127.0.0.1").set("spark.driver.bindAddress", "127.0.0.1")
        conf.set("spark.python.unix.domain.socket.enabled", "true").set("spark.ui.showConsoleProgress", "false")
        conf.set("spark.driver.extraJavaOptions", f"-Djava.io.tmpdir={scratch} -XX:-UsePerfData")
        self.context = SparkContext(conf=conf)
        self.context.addPyFile(peer.__file__)

    def run(self, function, arguments):
        return self.context.parallelize(arguments, len(arguments)).map(lambda a: function(*a)).collect()

    def call(self, function, *arguments):
        return self.run(function, [arguments])[0]

    def close(self):
        gateway = self.context._gateway  # nothing public ends the JVM before the program ends
        self.context.stop()
        gateway.shutdown()
        gateway.proc.stdin.close()
        gateway.proc.wait(10)


if __name__ == "__main__":
    peer.measure(Spark, sys.argv[1:])
