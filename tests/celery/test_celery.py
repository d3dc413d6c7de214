"""Celery tasks as they are: a real broker, a real worker and a real server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import requests
from celery import Celery

from socketprogress.celery import install
from socketprogress.celery.accepting import refuse_pickle
from socketprogress.core.errors import ConfigurationError
from tests.celery.conftest import HERE, WAIT_S, Shop


@pytest.fixture(scope="module")
def working(shop: Any) -> Any:
    """The application with a worker of two processes."""
    shop.work("-c", "2")
    return shop


def send(shop: Any, call: str) -> str:
    return str(shop.send(f"print(shop.{call}.id)")[0])


def test_the_tutorials_task_is_live_to_its_end(working: Any) -> None:
    task_id = send(working, "long_task.delay(0.2)")
    live = working.until(task_id, lambda task: 0 < (task["progress"] or 0) < 100)
    assert live["status"] == "in_progress"
    assert live["message"].startswith("part ")
    assert (live["source"], live["name"], live["total"]) == ("celery", "shop.long_task", 100)
    end = working.end_of(task_id)
    assert (end["status"], end["progress"]) == ("completed", 100)
    assert end["result"] == {
        "current": 100, "total": 100, "status": "Task completed!", "result": 42
    }  # fmt: skip


def test_a_percent_is_a_percent(working: Any) -> None:
    task_id = send(working, "percent.delay()")
    live = working.until(task_id, lambda task: 0 < (task["progress"] or 0) < 100)
    assert live["progress"] == live["current"]
    assert live["unit"] == "%"
    assert working.end_of(task_id)["result"] == "done"


def test_a_task_that_says_nothing_is_there_without_its_secrets(working: Any) -> None:
    task_id = send(working, "add.delay(2, 3, password='hunter2')")
    end = working.end_of(task_id)
    assert (end["status"], end["result"]) == ("completed", 5)
    assert end["title"] == "add(2, 3, password=***)"
    assert end["args"] == {"x": 2, "y": 3, "password": "***"}


def test_an_exception_fails_it(working: Any) -> None:
    end = working.end_of(send(working, "fail.delay()"))
    assert end["status"] == "failed"
    assert end["error"]["code"] == "exception"
    assert "no such customer" in end["error"]["message"]


def test_a_retry_stays_the_same_task(working: Any) -> None:
    task_id = send(working, "flaky.delay()")
    waiting = working.until(task_id, lambda task: task["message"].startswith("Retry 1"))
    assert waiting["status"] == "in_progress"
    end = working.end_of(task_id)
    assert (end["status"], end["result"]) == ("completed", "open")


@pytest.mark.parametrize("by_time", [False, True])
def test_who_waits_for_a_retry_is_not_given_up(shop: Any, by_time: bool) -> None:
    # Given a pool's process that ends after its task, with nobody to speak for what waits
    options = ["-c", "1", "-Q", f"slow{by_time}", "--max-tasks-per-child", "1"]
    worker = shop.work(*options, SOCKETPROGRESS_LEASE="1", ABANDON="5")
    code = f"print(shop.patient.apply_async(({by_time},), queue='slow{by_time}').id)"
    (task_id,) = shop.send(code)

    # When it is lost for longer than that, then it still goes on in the end
    shop.until(task_id, lambda task: task["status"] == "lost")
    end = shop.end_of(task_id)
    assert (end["status"], end["result"]) == ("completed", "served")
    worker.kill()


def test_a_task_that_is_replaced_goes_on_as_the_other_one(working: Any) -> None:
    task_id = send(working, "outer.delay()")
    live = working.until(task_id, lambda task: task["message"].startswith("part "))
    assert (live["status"], live["result"]) == ("in_progress", None)
    assert live["progress"] < 75
    end = working.end_of(task_id)
    assert (end["status"], end["result"]["result"]) == ("completed", 42)


def test_a_task_that_no_worker_knows_has_failed(working: Any) -> None:
    end = working.end_of(send(working, "app.send_task('shop.nobody')"))
    assert end["status"] == "failed"
    assert "does not know the task 'shop.nobody': import it there" in end["error"]["message"]


def test_a_state_of_the_tasks_own_ends_it(working: Any) -> None:
    assert working.end_of(send(working, "own_failure.delay()"))["status"] == "failed"


def test_what_is_rejected_for_good_has_failed(working: Any) -> None:
    end = working.end_of(send(working, "refused.delay()"))
    assert (end["status"], end["error"]["message"]) == ("failed", "Rejected: spoilt")


def test_what_goes_back_into_the_queue_goes_on(working: Any) -> None:
    end = working.end_of(send(working, "sent_back.delay()"))
    assert (end["status"], end["result"]) == ("completed", "sold")


def test_what_is_ignored_is_not_shown_and_not_counted(working: Any) -> None:
    code = (
        "sent = group(shop.unseen_add.s(1), shop.add.s(1), shop.add.s(2)).apply_async()\n"
        "print(sent.id, *[one.id for one in sent.results])"
    )
    group_id, unseen, *_ = working.send(code)
    end = working.end_of(group_id)
    assert (end["total"], end["result"]) == (2, {"completed": 2})
    assert working.task(unseen) is None


def test_what_the_broker_refuses_is_not_there(working: Any) -> None:
    code = (
        "from kombu.exceptions import EncodeError\n"
        "import uuid\n"
        "one, many = uuid.uuid4().hex, uuid.uuid4().hex\n"
        "for send in (lambda: shop.add.apply_async((object(),), task_id=one),\n"
        "             lambda: group(shop.add.s(object())).apply_async(task_id=many)):\n"
        "    try:\n"
        "        send()\n"
        "    except EncodeError:\n"
        "        print('refused')\n"
        "print(one, many, shop.add.delay(1).id)"
    )
    *refused, one, many, after = working.send(code)
    assert refused == ["refused", "refused"]
    assert working.end_of(many)["status"] == "failed"
    assert working.end_of(after)["status"] == "completed"
    assert working.task(one) is None


def test_a_result_that_is_no_json_is_left_out(working: Any) -> None:
    task_id = send(working, "returns_object.delay()")
    end = working.end_of(task_id)
    assert (end["status"], end["result"]) == ("completed", None)
    assert any("The result is left out" in line for line in working.log(task_id))


def test_the_reporter_of_the_running_task(working: Any) -> None:
    task_id = send(working, "tracked.delay(30)")
    live = working.until(task_id, lambda task: task["current"] > 2)
    assert live["total"] == 30
    assert working.end_of(task_id)["result"] == 30


def test_a_task_that_waits_is_queued_and_a_revoked_one_is_cancelled(working: Any) -> None:
    task_id, revoked = working.send(
        "print(shop.add.apply_async((1,), countdown=60).id)\n"
        "one = shop.add.apply_async((1,), countdown=3)\n"
        "one.revoke()\n"
        "print(one.id)"
    )
    waiting = working.until(task_id, lambda task: True)
    assert (waiting["status"], waiting["started_at"]) == ("queued", None)
    assert working.end_of(revoked)["status"] == "cancelled"


def test_a_cancellation_is_heard_at_the_next_update(working: Any) -> None:
    task_id = send(working, "endless.delay()")
    working.until(task_id, lambda task: task["current"] > 3)
    working.cancel(task_id)
    end = working.end_of(task_id)
    assert (end["status"], end["error"]) == ("cancelled", None)
    assert working.send(f"print(shop.app.AsyncResult('{task_id}').state)") == ["REVOKED"]
    # And the worker that ran it goes on.
    assert working.end_of(send(working, "add.delay(1)"))["result"] == 2


def test_what_does_not_hear_is_ended_by_force(shop: Any) -> None:
    shop.work("-c", "1", "-Q", "impatient", GRACE="0.3")
    task_id = shop.send("print(shop.deaf.apply_async((60,), queue='impatient').id)")[0]
    shop.until(task_id, lambda task: task["status"] == "in_progress")
    shop.cancel(task_id)
    assert shop.end_of(task_id)["status"] == "cancelled"


def test_a_queued_task_is_revoked_by_the_process_that_has_sent_it(working: Any) -> None:
    task_id = send(working, "add.apply_async((1,), countdown=60)")
    working.until(task_id, lambda task: task["status"] == "queued")
    working.cancel(task_id)
    end = working.end_of(task_id)
    assert (end["status"], end["result"]) == ("cancelled", None)


def test_many_that_wait_are_cancelled_together_and_their_sender_goes_on(working: Any) -> None:
    # Given more tasks that wait than the application's pool has connections
    code = (
        "sent = group(shop.add.s(n) for n in range(30)).apply_async(countdown=120)\nprint(sent.id)"
    )
    group_id = working.send(code)[0]
    working.until(group_id, lambda task: task["total"] == 30)

    # When all of them are cancelled, then none is left, and others are sent as before
    working.cancel(group_id)
    assert working.end_of(group_id)["result"] == {"cancelled": 30}
    assert working.end_of(send(working, "add.delay(1)"))["status"] == "completed"


def test_a_killed_pool_process_fails_its_task(working: Any) -> None:
    end = working.end_of(send(working, "killed.delay()"))
    assert (end["status"], end["error"]["code"]) == ("failed", "worker_lost")


def test_a_killed_worker_is_lost_by_its_lease_and_failed_in_the_end(shop: Any) -> None:
    worker = shop.work("-c", "2", "-Q", "doomed", SOCKETPROGRESS_LEASE="1.5", ABANDON="0.7")
    task_id, late = shop.send(
        "print(shop.deaf.apply_async((60,), queue='doomed').id,"
        " shop.deaf_and_late.apply_async((60,), queue='doomed').id)"
    )
    for one in (task_id, late):
        shop.until(one, lambda task: task["status"] == "in_progress")
    worker.kill()
    assert shop.until(task_id, lambda task: task["status"] == "lost")
    end = shop.end_of(task_id)
    assert (end["status"], end["error"]["code"]) == ("failed", "worker_lost")
    # The broker gives this one to another worker.
    assert shop.task(late)["status"] == "lost"


def test_a_group_of_200_is_one_bar(working: Any) -> None:
    group_id, *members = working.send(
        "sent = group(shop.member.s(n) for n in range(200)).apply_async()\n"
        "print(sent.id, *[one.id for one in sent.results])"
    )
    assert len(members) == 200
    parent = working.end_of(group_id)
    assert (parent["status"], parent["current"], parent["total"]) == ("completed", 200, 200)
    assert (parent["title"], parent["result"]) == ("Group of 200", {"completed": 200})
    for member in members:
        assert working.task(member)["parent_id"] == group_id


def test_a_chords_body_stands_beside_its_group(working: Any) -> None:
    body, group_id = working.send(
        "sent = chord([shop.member.s(n) for n in range(4)])(shop.total_of.s())\n"
        "print(sent.id, sent.parent.id)"
    )
    assert working.end_of(group_id)["result"] == {"completed": 4}
    end = working.end_of(body)
    assert (end["result"], end["parent_id"]) == (6, None)


def test_a_member_that_fails_counts_and_a_chain_is_one_member(working: Any) -> None:
    code = (
        "sent = group(shop.fail.s(), shop.add.s(1) | shop.add.s(2)).apply_async()\nprint(sent.id)"
    )
    end = working.end_of(working.send(code)[0])
    assert end["result"] == {"completed": 1, "failed": 1}


def test_a_chord_and_a_chain_that_ends_with_one_are_members_by_their_bodies(working: Any) -> None:
    code = (
        "parts = [shop.member.s(n) for n in range(2)]\n"
        "whole = chord(parts, shop.total_of.s())\n"
        "after = shop.add.s(1, 1) | group(shop.add.s(n) for n in range(2)) | shop.total_of.s()\n"
        "sent = group(whole, shop.member.s(9), after).apply_async()\n"
        "print(sent.id)"
    )
    parent = working.end_of(working.send(code)[0])
    assert (parent["total"], parent["result"]) == (3, {"completed": 3})


def test_cancelling_a_group_cancels_its_members(working: Any) -> None:
    code = "sent = group(shop.endless.s() for _ in range(2)).apply_async()\nprint(sent.id)"
    group_id = working.send(code)[0]
    working.until(group_id, lambda task: task["total"] == 2)
    working.cancel(group_id)
    assert working.end_of(group_id)["result"] == {"cancelled": 2}


@pytest.mark.parametrize("pool", ["solo", "threads", "gevent"])
def test_every_pool_shows_its_tasks(shop: Any, pool: str) -> None:
    shop.work("-P", pool, "-c", "2", "-Q", pool)
    task_id, failing = shop.send(
        f"print(shop.percent.apply_async(queue='{pool}').id, shop.fail.apply_async(queue='{pool}').id)"
    )
    assert shop.until(task_id, lambda task: 0 < (task["progress"] or 0) < 100)["parent_id"] is None
    assert shop.end_of(task_id)["result"] == "done"
    assert shop.end_of(failing)["error"]["code"] == "exception"


def test_workers_refuse_pickles_unless_the_host_takes_them() -> None:
    app = Celery("pickles")
    app.conf.accept_content = ["json", "pickle"]
    app.conf.result_accept_content = ["pickle"]
    refuse_pickle(app)
    assert (app.conf.accept_content, app.conf.result_accept_content) == (["json"], ["json"])


def test_a_worker_refuses_a_pickle(shop: Any) -> None:
    worker = shop.work("-P", "solo", "-Q", "pickles", PICKLES="1")
    shop.send("shop.add.apply_async((1,), queue='pickles', serializer='pickle')")
    after = send(shop, "add.apply_async((1,), queue='pickles')")
    assert shop.end_of(after)["result"] == 2
    assert "pickle" in worker.output
    assert "Refusing to deserialize" in worker.output or "ContentDisallowed" in worker.output


@pytest.mark.parametrize("url", ["ftp://here", "redis://", "http://"])
def test_a_url_that_is_none_is_said_at_once(url: str) -> None:
    with pytest.raises(ConfigurationError):
        install(Celery("nowhere"), url)


def test_tasks_are_reported_to_the_redis_that_servers_share(
    server: Callable[..., Any], lasting_redis: Any, tmp_path: Path
) -> None:
    store = f"{lasting_redis.url}?prefix=celery-direct"
    broker = lasting_redis.url.replace("/0", "/3")
    sends = ("--tasks", str(HERE / "shop.py"), "--celery", "shop:app")
    running = server("--store", store, *sends, env={"BROKER": broker})
    env = {**running.env, "SOCKETPROGRESS_STORE": store}
    shop = Shop(running.url, broker, env, tmp_path)
    try:
        shop.work("-c", "1")
        task_id = send(shop, "long_task.delay(0.2)")
        assert shop.until(task_id, lambda task: 0 < (task["progress"] or 0) < 100)["total"] == 100
        assert shop.end_of(task_id)["status"] == "completed"
        group_id = send(shop, "group_of(3)")
        assert shop.end_of(group_id)["result"] == {"completed": 3}
        for _ in range(2):  # by the second one nothing is waited for any more
            payload = {"task": "restock", "args": {"count": 4}}
            started = requests.post(f"{running.url}/api/tasks", json=payload, timeout=WAIT_S)
            end = shop.end_of(started.json()["task_id"])
            assert (end["status"], end["result"], end["args"]) == ("completed", 4, {"count": 4})
        again = f"{running.url}/api/tasks/{end['task_id']}/retry"
        assert requests.post(again, json={}, timeout=WAIT_S).status_code == 201
    finally:
        shop.close()
