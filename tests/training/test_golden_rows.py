"""Golden rows: what serving would encode is what training saw, or there is no package."""

import pytest

from service.contract.encode import encode_rows
from service.contract.golden import encode_raw
from tests.training.tiny import LAST, tiny_config
from training.data.days import Days
from training.export import ExportError
from training.golden_rows import golden_rows
from training.reading import reader_for


@pytest.fixture(scope="module")
def log_and_schema(tiny_log):
    reader = reader_for(tiny_config())
    log = reader.read(tiny_log)
    return reader, log, reader.features(log)


def test_golden_rows_are_impressions_of_the_last_day_in_the_form_of_a_request(
    log_and_schema, tiny_log
):
    reader, log, schema = log_and_schema
    raw = golden_rows(schema, reader, tiny_log, log)
    assert len(raw) == 32
    last = log.of(Days(LAST, LAST))
    assert raw[0]["user"]["id"] == last.user_id[0]
    assert raw[-1]["item"]["id"] == last.item_id[-1]
    assert raw[0]["context"] == {n: last.columns["context"][n][0] for n in ("tab", "hour")}
    encoded = encode_raw(schema, raw)
    expected = encode_rows(schema, last.columns, last.rows)
    assert encoded["user_ids"][0].tolist() == expected["user_ids"][0].tolist()


class _StaleReader:
    """Serves records of an earlier day than it should."""

    def __init__(self, reader):
        self.reader = reader

    def records(self, directory, as_of):
        return self.reader.records(directory, as_of - 2)


def test_records_that_differ_from_what_training_saw_stop_the_package(log_and_schema, tiny_log):
    reader, log, schema = log_and_schema
    with pytest.raises(
        ExportError,
        match=r"^log\.csv, row \d{4}: training saw '\w+' of .* as [\d.e-]+, serving encodes"
        r" [\d.e-]+ \(\w+\[\d+\]\); a feature of a user or an item has one value on a day, here"
        f" {LAST}$",
    ):
        golden_rows(schema, _StaleReader(reader), tiny_log, log)


class _ForgetfulReader(_StaleReader):
    def records(self, directory, as_of):
        users, items = self.reader.records(directory, as_of)
        return users, iter(list(items)[:1])


def test_an_item_without_a_record_is_named(log_and_schema, tiny_log):
    reader, log, schema = log_and_schema
    with pytest.raises(ExportError, match=r"no serving record for 'i\d+', which the log shows"):
        golden_rows(schema, _ForgetfulReader(reader), tiny_log, log)
