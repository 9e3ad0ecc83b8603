"""One server of several processes (`server.workers`): each with an engine on a device of its own, behind one port.

pool       the parent: binds the port, starts the workers, gives each connection to one of them, starts dead ones anew
member     a worker as the parent sees it
messages   what the two tell each other
__main__   a worker: the whole application, whose connections come from the parent
link       the parent as a worker sees it, and through it the others
door       where the connections come in
devices    which GPU or cores each worker has

A connection is a file descriptor that is handed on, so nothing stands between client and worker: streams, limits and
addresses are as with one process.
"""
