"""Runs code for Spark by Sail, which reads Delta logs as Spark with Delta Lake does: sail.py CODE"""

import os
import sys
import traceback

from pysail.spark import SparkConnectServer

server = SparkConnectServer(port=0)
server.start(background=True)
os.environ["SPARK_REMOTE"] = "sc://127.0.0.1:%d" % server.listening_address[1]
try:
    exec(compile(sys.argv[1], "<code>", "exec"), {"__name__": "__main__"})
    code = 0
except Exception:
    traceback.print_exc()
    code = 1
sys.stdout.flush()
sys.stderr.flush()
# At an orderly exit the client would wait for a server that has ended.
os._exit(code)
