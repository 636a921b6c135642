"""POST /rank over real HTTP: both forms, every refusal, headers, determinism."""

import copy
import gzip
import math
import re
import socket
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.api.running import AUTH, PLAN

IDS = ["i20", "i21", "nobody", "i23", "i24"]
USER = {"id": "u7", "features": {"age_range": "18-23", "user_clicks_7d": 3}}
CONTEXT = {"tab": 1, "hour": 20}
LENGTHS = [49.9, 11.9, None, 5.0, 120.5]
COLUMNS = {
    "request_id": "r-1",
    "scene": "feed",
    "user": USER,
    "context": CONTEXT,
    "candidates": {"ids": IDS, "features": {"videolen_s": LENGTHS}},
}
ROWS = {k: v for k, v in COLUMNS.items() if k != "candidates"} | {
    "items": [
        {"id": id_} if length is None else {"id": id_, "features": {"videolen_s": length}}
        for id_, length in zip(IDS, LENGTHS, strict=True)
    ]
}
HEADS = ["ctr", "cvr", "ctcvr", "vtr", "vcr", "like"]


def base_formula(heads, lengths, a=0.3, b=1.2, c=0.5):
    ctr, vcr, ctcvr = (np.array(heads[n]) for n in ("ctr", "vcr", "ctcvr"))
    f = 1 / (1 + np.log1p(np.array(lengths) / 30))
    return ctr**a * (1 + vcr) ** b * ctcvr**c * f


def lengths_of(ids):
    by_id = dict(zip(IDS, LENGTHS, strict=True))
    return [20.0 if by_id[i] is None else by_id[i] for i in ids]  # 20: the declared default


def test_the_column_form_is_answered_in_columns(service):
    answer = service.rank(COLUMNS)
    assert answer.status_code == 200
    reply = answer.json()
    assert list(reply)[:9] == ["request_id", "scene", "plan", "model", "formula", "assignments",
                               "exp_id", "degraded", "took_ms"]  # fmt: skip
    assert (reply["request_id"], reply["scene"], reply["plan"]) == ("r-1", "feed", 1)
    assert (reply["model"], reply["formula"], reply["degraded"]) == ("tiny/1", "base", [])
    assert (reply["assignments"], reply["exp_id"]) == ({}, "")
    assert sorted(reply["ids"]) == sorted(IDS)
    assert list(reply["heads"]) == HEADS
    assert reply["scores"] == sorted(reply["scores"], reverse=True)
    assert "degraded_detail" not in reply


def test_scores_are_the_formula_of_the_heads_in_the_same_reply(service):
    reply = service.rank(COLUMNS).json()
    expected = base_formula(reply["heads"], lengths_of(reply["ids"]))
    np.testing.assert_allclose(reply["scores"], expected, rtol=1e-13)


def test_the_row_form_is_answered_in_rows_with_the_same_numbers(service):
    columns, rows = service.rank(COLUMNS).json(), service.rank(ROWS).json()
    assert [item["id"] for item in rows["items"]] == columns["ids"]
    assert [item["score"] for item in rows["items"]] == columns["scores"]
    assert [item["rank"] for item in rows["items"]] == [1, 2, 3, 4, 5]
    for head, values in columns["heads"].items():
        assert [item["heads"][head] for item in rows["items"]] == values


def test_both_paths_are_the_same_route(service):
    one, other = (service.client.post(p, json=COLUMNS).json() for p in ("/rank", "/v1/rank"))
    assert {**one, "took_ms": 0} == {**other, "took_ms": 0}


def test_the_same_request_gives_the_same_bytes_but_for_took_ms(service):
    def without_time(document):
        return re.sub(rb'"took_ms":[0-9.e-]+', b"", service.rank(document).content)

    for document in (COLUMNS, ROWS, COLUMNS | {"explain": True}):
        assert len({without_time(document) for _ in range(5)}) == 1


def test_an_items_heads_do_not_depend_on_the_other_candidates(service):
    together = service.rank(COLUMNS).json()
    for at, id_ in enumerate(together["ids"]):
        alone = copy.deepcopy(COLUMNS)
        length = LENGTHS[IDS.index(id_)]
        alone["candidates"] = {"ids": [id_], "features": {"videolen_s": [length]}}
        reply = service.rank(alone).json()
        assert {h: v[0] for h, v in reply["heads"].items()} == {
            h: v[at] for h, v in together["heads"].items()
        }


def test_ties_keep_the_input_order(service):
    ids = [f"unknown-{n}" for n in range(20)]
    assert service.rank({"candidates": {"ids": ids}}).json()["ids"] == ids


def test_empty_candidates_answer_an_empty_list(service):
    columns = service.rank({"candidates": {"ids": []}}).json()
    assert (columns["ids"], columns["scores"], columns["degraded"]) == ([], [], [])
    assert columns["heads"] == {head: [] for head in HEADS}
    assert service.rank({"items": []}).json()["items"] == []


def test_limit_keeps_the_best(service):
    everything = service.rank(COLUMNS).json()
    best = service.rank(COLUMNS | {"limit": 2}).json()
    assert best["ids"] == everything["ids"][:2]
    assert {h: v[:2] for h, v in everything["heads"].items()} == best["heads"]
    assert service.rank(COLUMNS | {"limit": 10_000}).json()["ids"] == everything["ids"]


def test_heads_can_be_left_out(service):
    assert "heads" not in service.rank(COLUMNS | {"heads": False}).json()
    assert all(
        "heads" not in item for item in service.rank(ROWS | {"heads": False}).json()["items"]
    )


def test_the_scene_may_be_left_out_while_one_is_live(service):
    reply = service.rank({"items": [{"id": "i20"}]}).json()
    assert reply["scene"] == "feed"


def test_a_request_id_is_made_taken_from_the_header_or_from_the_body(service):
    made = service.rank({"items": []})
    assert re.fullmatch("[0-9a-f]{32}", made.json()["request_id"])
    assert made.headers["x-request-id"] == made.json()["request_id"]
    header = service.rank({"items": []}, **{"X-Request-Id": "from-header"})
    assert (header.json()["request_id"], header.headers["x-request-id"]) == ("from-header",) * 2
    both = service.rank({"items": [], "request_id": "body"}, **{"X-Request-Id": "from-header"})
    assert (both.json()["request_id"], both.headers["x-request-id"]) == ("body", "from-header")


@pytest.mark.parametrize("request_id", ["a\r\nset-cookie: x", "精排", "\u0000", "a b"])
def test_a_request_id_that_no_header_can_hold_is_escaped(service, request_id):
    answer = service.rank({"items": [], "request_id": request_id})
    assert answer.status_code == 200
    assert answer.json()["request_id"] == request_id
    assert "set-cookie" not in answer.headers
    assert re.fullmatch(r"[!-~]+", answer.headers["x-request-id"])


def test_server_timing_names_every_stage(service):
    timing = service.rank(COLUMNS).headers["server-timing"]
    stages = dict(part.split(";dur=") for part in timing.split(", "))
    expected = ["parse", "assign", "features", "encode", "infer", "fuse", "reply"]
    assert [stage for stage in stages if stage in expected] == expected
    assert all(float(ms) >= 0 for ms in stages.values())


def test_answers_are_never_stored_by_caches(service):
    assert service.rank(COLUMNS).headers["cache-control"] == "no-store"


def test_a_forced_user_is_in_the_arm_that_the_plan_says(service):
    document = copy.deepcopy(COLUMNS) | {"user": {"id": "forced"}}
    reply = service.rank(document).json()
    assert reply["assignments"] == {"fusion": "vcr-up/treatment"}
    assert reply["exp_id"] == "fusion:vcr-up/treatment"
    expected = base_formula(reply["heads"], lengths_of(reply["ids"]), b=1.6)
    np.testing.assert_allclose(reply["scores"], expected, rtol=1e-13)


def test_explain_recomposes_every_score_in_both_forms(service):
    columns = service.rank(COLUMNS | {"explain": True}).json()
    rows = service.rank(ROWS | {"explain": True}).json()
    assert [item["explain"] for item in rows["items"]] == columns["explain"]
    for score, why in zip(columns["scores"], columns["explain"], strict=True):
        assert why["mode"] == "product"
        assert math.prod(term["value"] for term in why["terms"]) == pytest.approx(score, rel=1e-6)
        total = sum(term["contribution"] for term in why["terms"])
        assert math.exp(total) == pytest.approx(score, rel=1e-6)
        assert list(why["heads"]) == HEADS
    lengths = [why["attributes"]["videolen_s"] for why in columns["explain"]]
    assert lengths == lengths_of(columns["ids"])
    absent = columns["explain"][columns["ids"].index("nobody")]["missing"]
    assert "videolen_s" in absent


def test_explain_lists_the_names_that_nothing_reads(service):
    asked = {"items": [{"id": "a", "features": {"videolens": 3}}], "context": {"tabs": 1}}
    why = service.rank(asked | {"explain": True}).json()["explain_request"]
    assert why["unknown"] == ["tabs", "videolens"]
    why = service.rank(COLUMNS | {"explain": True}).json()["explain_request"]
    assert why["unknown"] == []


def test_explain_shows_how_the_user_was_assigned(service):
    why = service.rank(COLUMNS | {"explain": True}).json()["explain_request"]
    assert why["formula"] == PLAN["formulas"]["base"]["score"]
    assert why["params"] == {"a": 0.3, "b": 1.2, "c": 0.5}
    layer = why["buckets"][0]
    assert (layer["layer"], layer["hashed"]) == ("fusion", "fusion-1:u7")
    assert 0 <= layer["bucket"] < 10_000
    forced = service.rank({"items": [], "user": {"id": "forced"}, "explain": True})
    assert forced.status_code == 200


def test_unknown_features_are_ignored_and_counted(service):
    def counted():
        text = service.client.get("/metrics").text
        found = re.search(r'finerank_features_unknown_total\{scene="feed"\} ([0-9.]+)', text)
        return float(found[1]) if found else 0.0

    before = counted()
    document = copy.deepcopy(ROWS)
    document["items"][0]["features"] |= {"no_such_feature": [{"x": 1}]}
    document["user"] = {"id": "u7", "features": {"neither_this": 1}}
    assert service.rank(document).status_code == 200
    assert counted() == before + 2


@pytest.mark.parametrize(
    ("change", "pointer", "words"),
    [
        ({"user": {"id": "u7", "features": {"age_range": 1.5}}}, "/user/features/age_range",
         "1.5' is neither a string nor an integer"),
        ({"context": {"hour": "late"}}, "/context/hour", "'late' is not a number"),
        ({"candidates": {"ids": ["a", "b"], "features": {"videolen_s": [1, "x"]}}},
         "/candidates/features/videolen_s/1", "'x' is not a number"),
        ({"candidates": {"ids": ["a"], "features": {"tags": ["sport"]}}},
         "/candidates/features/tags/0", "is not a list of strings"),
        ({"candidates": {"ids": ["a"], "features": {"price": [True]}}},
         "/candidates/features/price/0", "'True' is not a number"),
    ],
)  # fmt: skip
def test_a_value_its_feature_cannot_take_is_refused_with_its_place(service, change, pointer, words):
    answer = service.rank(COLUMNS | change)
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["errors"][0]["pointer"] == pointer
    assert words in problem["detail"]


def test_a_bad_value_of_the_row_form_is_pointed_at_in_the_row_form(service):
    items = [{"id": "a"}, {"id": "b", "features": {"videolen_s": "long"}}]
    problem = service.rank({"items": items}).json()
    assert problem["errors"][0]["pointer"] == "/items/1/features/videolen_s"


@pytest.mark.parametrize(
    ("body", "status", "code", "pointer"),
    [
        (b'{"items": [], "items": [{"id": "i20"}]}', 200, None, None),
        (b"{", 400, "malformed-json", ""),
        (b'{"items": [{"id": "a", "features": {"x": NaN}}]}', 400, "malformed-json",
         "/items/0/features/x"),
        (b'{"items": [], "context": {"hour": 1e400}}', 400, "malformed-json", "/context/hour"),
        (b'{"items": [], "context": {"zzz": 1e300}}', 422, "invalid-request", "/context/zzz"),
        (b'{"items": [], "scene": "fed"}', 422, "invalid-request", "/scene"),
        (b'{"items": [], "candidates": {"ids": []}}', 422, "invalid-request", "/candidates"),
        (b'{"items": [], "frobnicate": 1}', 422, "invalid-request", "/frobnicate"),
        (b'{"candidates": {"ids": ["a", "a"]}}', 422, "invalid-request", "/candidates/ids/1"),
        (b'{"candidates": {"ids": ["a"], "features": {"x": []}}}', 422, "invalid-request",
         "/candidates/features/x"),
        (b'{"candidates": {"ids": [1]}}', 422, "invalid-request", "/candidates/ids/0"),
    ],
)  # fmt: skip
def test_bodies_are_refused_as_problem_documents(service, body, status, code, pointer):
    answer = service.client.post("/rank", content=body)
    assert answer.status_code == status
    if code is None:
        return
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert problem["type"] == f"urn:finerank:problem:{code}"
    assert problem["status"] == status
    assert problem["instance"] == "/rank"
    assert problem["detail"]
    assert problem["title"]
    assert problem["errors"][0]["pointer"] == pointer


def test_an_unknown_scene_is_refused_with_the_nearest_and_never_becomes_a_label(service):
    problem = service.rank({"items": [], "scene": "fed"}).json()
    assert problem["detail"] == "unknown scene 'fed'; did you mean 'feed'?"
    problem = service.rank({"items": [], "scene": "zzz"}).json()
    assert problem["detail"] == "unknown scene 'zzz' (live: feed)"
    text = service.client.get("/metrics").text
    assert "zzz" not in text
    assert re.search(r'finerank_requests_total\{scene="",status="422"\} [1-9]', text)


def test_the_largest_number_of_candidates_is_ranked_and_one_more_is_not(service):
    ids = [f"i{n}" for n in range(2000)]
    assert len(service.rank({"candidates": {"ids": ids}}).json()["ids"]) == 2000
    answer = service.rank({"candidates": {"ids": [*ids, "more"]}})
    assert answer.status_code == 422
    assert "at most 2000" in answer.json()["detail"]


@pytest.mark.parametrize("chunked", [False, True], ids=["declared", "chunked"])
def test_a_body_over_4_mib_is_refused_with_the_limit_and_counted(service, chunked):
    def counted():
        text = service.client.get("/metrics").text
        found = re.search(r'finerank_requests_total\{scene="",status="413"\} ([0-9.]+)', text)
        return float(found[1]) if found else 0.0

    before, body = counted(), b" " * (4 * 2**20 + 1)
    answer = service.client.post("/rank", content=iter([body]) if chunked else body)
    assert answer.status_code == 413
    assert "at most 4194304 (4 MiB)" in answer.json()["detail"]
    service.client.put("/v1/plans/feed", content=body)  # no rank request
    assert counted() == before + 1


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("X-Request-Timeout-Ms", "0"),
        ("X-Request-Timeout-Ms", "soon"),
        ("X-Request-Timeout-Ms", "5001"),
        ("x-envoy-expected-rq-timeout-ms", "1.5"),
        ("grpc-timeout", "40"),
    ],
)
def test_a_malformed_deadline_is_refused_with_its_header(service, header, text):
    answer = service.rank(COLUMNS, **{header: text})
    assert answer.status_code == 400
    problem = answer.json()
    assert problem["type"] == "urn:finerank:problem:malformed-header"
    assert problem["errors"][0]["header"] == header


def test_a_deadline_that_cannot_be_met_is_answered_in_input_order_and_says_so(service):
    answer = service.rank(COLUMNS, **{"X-Request-Timeout-Ms": "1"})
    assert answer.status_code == 200
    reply = answer.json()
    assert reply["ids"] == IDS
    assert reply["scores"] == [None] * 5
    assert (reply["degraded"], reply["degraded_detail"]) == (["deadline"], {"deadline": 5})


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/rank", 405), ("POST", "/nowhere", 404), ("GET", "/docs", 404)],
)
def test_the_frameworks_own_refusals_are_problem_documents_too(service, method, path, status):
    answer = service.client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["status"] == status


def test_nothing_about_ranking_needs_a_token(service):
    assert service.client.post("/rank", json=COLUMNS).status_code == 200
    wrong = {**AUTH, "Authorization": "Bearer wrong"}
    assert service.client.post("/rank", json=COLUMNS, headers=wrong).status_code == 200


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(
        st.sampled_from(["id", "ids", "features", "items", "user", "candidates", "x"]), inner,
        max_size=4),
    max_leaves=12,
)  # fmt: skip


@settings(
    max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(document=junk)
def test_no_json_document_is_a_server_error(service, document):
    try:
        answer = service.client.post("/rank", json=document)
    except ValueError:
        return  # a number that the client itself does not write
    assert answer.status_code in {200, 400, 422}, answer.text


def test_requests_beside_each_other_do_not_mix(service):
    import concurrent.futures

    def ask(n: int) -> tuple[int, httpx.Response]:
        items = [{"id": f"i{n + k}"} for k in range(5)]
        return n, service.rank({"items": items, "request_id": f"r-{n}"})

    with concurrent.futures.ThreadPoolExecutor(8) as threads:
        for n, answer in threads.map(ask, range(64)):
            reply = answer.json()
            assert reply["request_id"] == f"r-{n}"
            assert sorted(i["id"] for i in reply["items"]) == sorted(f"i{n + k}" for k in range(5))


def test_a_context_key_that_is_an_experiments_unit_is_not_counted_as_unknown(service):
    layers = [{**PLAN["layers"][0], "unit": "context.device"}]
    service.publish({**PLAN, "scene": "devices", "layers": layers, "force": {}}, "devices")
    document = {**ROWS, "scene": "devices", "context": {"device": "d1", "moon": 1}}
    assert service.rank(document).status_code == 200
    text = service.client.get("/metrics").text
    assert 'finerank_features_unknown_total{scene="devices"} 1.0' in text


def test_a_caller_who_leaves_while_sending_is_counted_as_gone(service):
    def left() -> float:
        value = service.runtime.parts.metrics.registry.get_sample_value
        return value("finerank_requests_total", {"scene": "", "status": "499"}) or 0.0

    before, where = left(), urlsplit(service.url)
    with socket.create_connection((where.hostname, where.port)) as caller:
        caller.sendall(b"POST /rank HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
    while left() == before:
        time.sleep(0.002)
    assert left() == before + 1


@pytest.mark.parametrize("path", ["/rank", "/v1/rank"])
def test_a_compressed_request_is_told_to_come_uncompressed(service, path):
    headers = {"Content-Encoding": "gzip"}
    answer = service.client.post(path, content=gzip.compress(b"{}"), headers=headers)
    assert answer.status_code == 415
    assert answer.json()["detail"].startswith("Content-Encoding is 'gzip': bodies are read as")
