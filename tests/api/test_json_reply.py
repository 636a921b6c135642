"""Replies in JSON are whole, and never cached."""

from service.api.json_reply import json_reply


def test_a_reply_is_json_that_no_cache_keeps():
    reply = json_reply({"scene": "精"}, 503, {"etag": '"v1"'})
    assert (reply.status_code, reply.body) == (503, '{"scene":"精"}'.encode())
    assert reply.headers["content-type"] == "application/json"
    assert (reply.headers["cache-control"], reply.headers["etag"]) == ("no-store", '"v1"')
