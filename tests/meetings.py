"""What the processes of test_sharing do; a module of its own, without torch, for each process imports it anew."""
import os
import time


def meet(connection, barrier):
    """A process that waits for the others, and says from when until when."""
    since = time.monotonic()
    barrier.wait()
    connection.send((since, time.monotonic(), os.getpid()))


def fail(connection, barrier, how):
    """One process fails; the others wait for it at the barrier."""
    if barrier.n_waiting < barrier.parties - 1:
        barrier.wait()
    how(connection)


def send_a_line(connection):
    connection.send('--pair: no such pair')


def die(connection):
    os._exit(9)
