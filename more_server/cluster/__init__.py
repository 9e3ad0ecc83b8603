"""The same application on several machines, as a deployment of Ray Serve (extra `cluster`).

plan        how many replicas, what each takes, when another one is started: a config of Serve
replica     the application inside a replica, without Ray: ready, healthy, leaving
deployment  what Serve imports: the deployment around it
node        a node of the cluster on this machine
front       Serve's own REST interface: deploy, status, remove

Ray is imported inside `deployment` alone, and only where Serve builds the application or runs a replica.
"""
