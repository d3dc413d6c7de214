"""Send the tutorials' task and watch it: the states are pushed, nothing is polled."""

from tasks import long_task

from socketprogress import Client

sent = long_task.delay()
with Client() as client:
    for state in client.task(sent.id).watch(timeout=60):
        print(state.status, state.progress, state.message)
    print(client.task(sent.id).result())
