"""The HTTP port beside real clients: metrics, health, the read-only API, purge and close."""

import json
import os
import re
import socket
import urllib.error
import urllib.request
from collections import namedtuple
from urllib.parse import quote, urlencode

import pytest
from pika import spec
from raw import Raw
from steps import Inbox, channel_refused, confirming, connection_refused, depth, fill
from waiting import pump_until, until

Answer = namedtuple("Answer", "code type text")
BASE = os.environ.get("FAIRLEAD_HTTP")
pytestmark = pytest.mark.skipif(not BASE, reason="rabbitmq_only: its management port has other figures and needs a login")


def ask(path, method="GET"):
    request = urllib.request.Request(BASE + path, method=method)
    try:
        with urllib.request.urlopen(request, timeout=15) as answer:
            return Answer(answer.status, answer.headers["Content-Type"], answer.read().decode())
    except urllib.error.HTTPError as error:
        return Answer(error.code, error.headers["Content-Type"], error.read().decode())


def listed(path, **wanted):
    """The objects of a list that have these fields."""
    answer = ask(path)
    assert answer.code == 200 and answer.type == "application/json"
    return [one for one in json.loads(answer.text) if all(one[name] == value for name, value in wanted.items())]


def metrics():
    """Every sample by its name and labels, as text."""
    answer = ask("/metrics")
    assert answer.code == 200 and answer.type.startswith("text/plain; version=0.0.4")
    lines = [line for line in answer.text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_every_metric_has_a_type_and_a_help():
    text = ask("/metrics").text
    names = {re.match(r"[a-z0-9_]+", line)[0] for line in text.splitlines() if line and not line.startswith("#")}
    assert len(names) > 40
    histograms = set(re.findall("^# TYPE ([a-z0-9_]+) histogram$", text, re.M))
    assert "fairlead_journal_sync_seconds" in histograms
    for name in names:
        # The series of a histogram have its type and help together.
        if (family := re.sub("_(bucket|sum|count)$", "", name)) in histograms:
            name = family
        assert f"# HELP {name} " in text and re.search(f"^# TYPE {name} (counter|gauge|histogram)$", text, re.M), name
        assert name.startswith("fairlead_")


def test_what_is_confirmed_was_written_and_synced(connection, names):
    queue, channel = names.queue(), confirming(connection)
    channel.queue_declare(queue, durable=True)
    before = metrics()
    channel.basic_publish("", queue, b"x" * 1000, spec.BasicProperties(delivery_mode=2))
    after = metrics()
    channel.queue_delete(queue)
    assert after["fairlead_journal_written_bytes_total"] >= before["fairlead_journal_written_bytes_total"] + 1000
    for name in ("syncs_total", "sync_seconds_count", "batch_bytes_count", 'sync_seconds_bucket{le="+Inf"}'):
        assert after[f"fairlead_journal_{name}"] > before[f"fairlead_journal_{name}"], name
    assert after["fairlead_journal_durable_position_bytes"] > before["fairlead_journal_durable_position_bytes"]
    assert after["fairlead_disk_free_bytes"] > 0


def test_counters_follow_what_clients_do(connection, names):
    queue, channel = names.queue(), confirming(connection)
    channel.queue_declare(queue)
    before = metrics()
    for _ in range(3):
        channel.basic_publish("", queue, b"12345")
    inbox = Inbox(connection.channel(), queue, auto_ack=True)
    inbox.wait(3)

    def risen(name):
        return metrics()[name] - before[name]

    assert risen("fairlead_messages_published_total") == 3
    assert risen("fairlead_messages_published_bytes_total") == 15
    assert risen("fairlead_publishes_confirmed_total") == 3
    until(lambda: risen("fairlead_deliveries_settled_mode_total") == 3, "deliveries are counted")


def test_refusals_and_redeliveries_are_counted(connection, queue):
    before = metrics()
    with channel_refused(404, f"NOT_FOUND - no queue '{queue}.nosuch' in vhost '/'"):
        connection.channel().queue_declare(queue + ".nosuch", passive=True)
    channel = connection.channel()
    fill(channel, queue, b"1")
    inbox = Inbox(channel, queue)
    inbox.wait(1)
    channel.basic_nack(inbox.messages[0].method.delivery_tag, requeue=True)
    inbox.wait(2)

    def risen(name):
        return metrics()[name] - before[name]

    assert risen("fairlead_channel_errors_total") == 1
    until(lambda: risen("fairlead_deliveries_repeated_total") == 1, "the redelivery is counted")


def test_a_queue_has_series(channel, queue):
    fill(channel, queue, b"1", b"2")
    labels = f'{{queue="{queue}",vhost="/"}}'
    now = metrics()
    assert now["fairlead_queue_messages_ready" + labels] == 2
    assert now["fairlead_queue_message_bytes" + labels] == 2
    assert now["fairlead_queue_messages_published_total" + labels] == 2


def test_label_values_are_escaped(channel, names):
    queue = names.queue() + ' "quoted" \\ \n'
    channel.queue_declare(queue, exclusive=True)
    escaped = queue.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert metrics()[f'fairlead_queue_messages_ready{{queue="{escaped}",vhost="/"}}'] == 0


def test_health():
    live, ready = ask("/health/live"), ask("/health/ready")
    assert (live.code, json.loads(live.text)) == (200, {"status": "ok"})
    assert (ready.code, json.loads(ready.text)) == (200, {"status": "ok", "reasons": []})


def test_overview_sums_up(channel, queue):
    fill(channel, queue, b"1")
    overview = json.loads(ask("/api/overview").text)
    assert overview["product_name"] == "Fairlead"
    assert overview["queue_totals"]["messages"] >= 1 and overview["object_totals"]["queues"] >= 1
    assert overview["message_stats"]["publish"] >= 1 and overview["mem_alarm"] is False
    assert overview["disk_free"] > 0 and overview["disk_free_limit"] > 0 and overview["disk_free_alarm"] in (True, False)
    for name in ("product_version", "rabbitmq_version", "management_version", "node"):
        assert re.match(r"\d+\.\d+\.\d+$|fairlead@.", overview[name]), name


def test_virtual_hosts(channel, queue):
    (shown,) = listed("/api/vhosts", name="/")
    assert json.loads(ask("/api/vhosts/%2F").text).keys() == shown.keys()
    before = json.loads(ask("/api/vhosts/%2F").text)["messages_ready"]
    fill(channel, queue, b"1")
    assert json.loads(ask("/api/vhosts/%2F").text)["messages_ready"] == before + 1


def test_pages(channel, names):
    made = sorted(names.queue() for _ in range(5))
    for queue in made:
        channel.queue_declare(queue)

    def page(**parameters):
        answer = ask("/api/queues?" + urlencode({"name": names.prefix, **parameters}))
        return answer.code, json.loads(answer.text)

    code, second = page(page=2, page_size=2)
    assert code == 200 and [one["name"] for one in second.pop("items")] == made[2:4]
    assert second.pop("total_count") >= 5
    assert second == {"filtered_count": 5, "item_count": 2, "page": 2, "page_count": 3, "page_size": 2}
    code, one = page(page=1, name=f"{names.prefix}.*{made[0][-1]}$", use_regex="true")
    assert (code, one["items"][0]["name"], one["page_size"]) == (200, made[0], 100)
    assert page(page=1, name="no such name")[1]["items"] == []
    for wrong in ({"page": 4, "page_size": 2}, {"page": 0}, {"page": "x"}, {"page": 1, "page_size": 501},
                  {"page": 1, "name": "(", "use_regex": "true"}):
        code, error = page(**wrong)
        assert code == 400 and error["reason"], wrong
    assert isinstance(json.loads(ask("/api/queues").text), list)


@pytest.mark.parametrize("kind", ["queues", "exchanges", "bindings", "consumers", "vhosts"])
def test_an_unknown_virtual_host_is_named(kind):
    answer = ask(f"/api/{kind}/nosuch")
    assert (answer.code, answer.type) == (404, "application/json")
    assert json.loads(answer.text) == {"error": "Object Not Found", "reason": "no virtual host 'nosuch'"}


def test_a_queue_as_the_api_shows_it(channel, names):
    queue = names.queue()
    arguments = {"x-max-length": 5, "x-dead-letter-exchange": "amq.fanout"}
    channel.queue_declare(queue, auto_delete=True, arguments=arguments)
    fill(channel, queue, b"12", b"345")
    (shown,) = listed("/api/queues", name=queue)
    assert json.loads(ask(f"/api/queues/%2F/{quote(queue, safe='')}").text) == shown
    assert listed("/api/queues/%2F", name=queue) == [shown]
    assert shown["arguments"] == arguments
    figures = ("vhost", "type", "durable", "auto_delete", "exclusive", "messages_ready", "messages", "message_bytes")
    assert [shown[figure] for figure in figures] == ["/", "classic", False, True, False, 2, 2, 5]


def test_exchanges_and_bindings(channel, queue, names):
    exchange = names.exchange()
    channel.exchange_declare(exchange, "headers", durable=True)
    channel.queue_bind(queue, exchange, "key", {"x-match": "any", "n": 1})
    (shown,) = listed("/api/exchanges/%2F", name=exchange)
    assert (shown["type"], shown["durable"], shown["internal"]) == ("headers", True, False)
    (binding,) = listed("/api/bindings", source=exchange)
    assert (binding["destination"], binding["destination_type"], binding["routing_key"]) == (queue, "queue", "key")
    assert binding["arguments"] == {"x-match": "any", "n": 1}
    assert re.fullmatch("key~.+", binding["properties_key"])
    channel.queue_bind(queue, "amq.direct", "plain")
    channel.queue_bind(queue, "amq.direct", "")
    plain = listed("/api/bindings/%2F", source="amq.direct", destination=queue)
    assert {one["properties_key"] for one in plain} == {"plain", "~"}


def test_connections_channels_and_consumers(connect, names):
    tag = names("client")
    connection = connect(client_properties={"connection_name": tag})
    channel = connection.channel(7)
    channel.basic_qos(prefetch_count=3)
    queue = names.queue()
    channel.queue_declare(queue)
    consumer = Inbox(channel, queue)

    def shown():
        return [c for c in listed("/api/connections") if c["client_properties"].get("connection_name") == tag]

    (one,) = until(shown, "the connection is shown")
    assert one["user_provided_name"] == tag
    alone = json.loads(ask(f"/api/connections/{quote(one['name'], safe='')}").text)
    assert (alone["name"], alone["user_provided_name"]) == (one["name"], tag)
    assert one["name"] in [c["name"] for c in listed("/api/vhosts/%2F/connections")]
    assert (one["user"], one["vhost"], one["protocol"], one["state"]) == ("guest", "/", "AMQP 0-9-1", "running")
    (of_queue,) = until(
        lambda: [c for c in listed("/api/consumers") if c["queue"]["name"] == queue], "the consumer is shown"
    )
    assert of_queue["consumer_tag"] == consumer.tag
    assert (of_queue["ack_required"], of_queue["prefetch_count"], of_queue["active"]) == (True, 3, True)
    assert of_queue["channel_details"]["connection_name"] == one["name"]
    (session,) = listed("/api/channels", name=f"{one['name']} (7)")
    assert (session["prefetch_count"], session["consumer_count"]) == (3, 1)


def test_one_of_many_is_shown_as_the_active_consumer(connection, names):
    queue = names.queue()
    connection.channel().queue_declare(queue, arguments={"x-single-active-consumer": True})
    first, second = (Inbox(connection.channel(), queue) for _ in range(2))

    def active():
        mine = [c for c in listed("/api/consumers") if c["queue"]["name"] == queue]
        return {c["consumer_tag"]: c["active"] for c in mine}

    until(lambda: active() == {first.tag: True, second.tag: False}, "the first is active")
    first.channel.basic_cancel(first.tag)
    until(lambda: active() == {second.tag: True}, "the second follows")


def test_purge(channel, queue):
    fill(channel, queue, b"1", b"2")
    answer = ask(f"/api/queues/%2F/{queue}/contents", "DELETE")
    assert (answer.code, json.loads(answer.text)) == (200, {"messages": 2})
    assert depth(channel, queue) == 0
    missing = ask("/api/queues/%2F/nosuch/contents", "DELETE")
    assert (missing.code, json.loads(missing.text)["reason"]) == (404, "no queue 'nosuch' in virtual host '/'")


def test_close_tells_the_client_why(connect, names):
    tag = names("client")
    connection = connect(client_properties={"connection_name": tag})

    def shown():
        return [c for c in listed("/api/connections") if c["client_properties"].get("connection_name") == tag]

    (one,) = until(shown, "the connection is shown")
    path = f"/api/connections/{quote(one['name'], safe='')}"
    assert ask(path + "?reason=maintenance", "DELETE").code == 204
    with connection_refused(320, "CONNECTION_FORCED - maintenance"):
        pump_until(connection, lambda: False, "connection.close")
    until(lambda: not shown(), "the connection is gone")
    assert ask(path, "DELETE").code == 404


def test_close_does_not_wait_for_a_client_that_does_not_read(address, channel, queue):
    for _ in range(200):
        channel.basic_publish("", queue, bytes(128 * 1024))
    with Raw.open(address) as silent:
        silent.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        silent.open_channel()
        silent.method(1, spec.Basic.Consume(queue=queue, no_ack=True))
        port = silent.sock.getsockname()[1]

        def shown():
            return listed("/api/connections", peer_port=port)

        seen = []

        def stands_still():
            seen.extend(one["send_oct"] for one in shown())
            return seen and seen[-1] > 100_000 and seen[-5:] == seen[-1:] * 5

        until(stands_still, "nothing more can be written", pause=0.1)
        (one,) = shown()
        assert ask(f"/api/connections/{quote(one['name'], safe='')}", "DELETE").code == 204
        # Its consumers are gone at once; the socket has some seconds more to say why.
        until(lambda: not listed("/api/queues", name=queue, consumers=1), "the connection is at its end")


def test_clients_that_ask_nothing_do_not_keep_others_out():
    host, port = BASE.removeprefix("http://").rsplit(":", 1)
    silent = [socket.create_connection((host, int(port)), timeout=15) for _ in range(200)]
    try:
        for one in silent:
            one.sendall(b"GET /metr")
        assert ask("/health/live").code == 200
    finally:
        for one in silent:
            one.close()


@pytest.mark.parametrize(
    "path, method, code",
    [
        ("/", "GET", 404),
        ("/api/nosuch", "GET", 404),
        ("/api/queues/%2F/nosuch", "GET", 404),
        ("/api/connections/nosuch", "GET", 404),
        ("/api/vhosts/nosuch/channels", "GET", 404),
        ("/api/queues/%FF", "GET", 400),
        ("/metrics", "POST", 405),
        ("/api/queues", "PUT", 405),
        ("/health/ready", "DELETE", 405),
    ],
)
def test_what_is_not_there_is_refused(path, method, code):
    assert ask(path, method).code == code
