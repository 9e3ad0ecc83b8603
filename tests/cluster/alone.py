"""A replica without Ray, in a process of its own: `alone PORT FILE [HOST]`; it leaves once FILE is there."""

import sys
from pathlib import Path

import uvicorn

from more_server.cluster.replica import Replica

if __name__ == "__main__":
    port, mark = int(sys.argv[1]), Path(sys.argv[2])
    host = sys.argv[3] if len(sys.argv) > 3 else "127.0.0.1"
    replica = Replica("here", host, 1, mark.exists)
    uvicorn.run(replica, host="127.0.0.1", port=port, log_config=None, lifespan="on")
