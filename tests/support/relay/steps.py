"""The statements and functions by which a relay works on rows, each with its test.

tests/architecture/test_steps.py fails for a statement or a function that is in none of these
tables. Add it with the scenario that shows that a bad row in it ends by itself, or with the reason
why no single row can make it fail.
"""

# Statements that get a webhook's rows, by the scenario of test_bad_rows.py in which one of them
# fails.
STATEMENTS = {
    "an event": ("target.targets", "record.record", "peers.notify_work"),
    "an event by a claim": ("claim.claim", "give_up.give_up", "claim.soonest", "leases.give_back_unconfirmed"),
    "a failure": (
        "settle.lock",
        "settle.save",
        "settle.begin_anew",
        "settle.take_announcements",
        "settle.write_notices",
        "settle.disable",
    ),
    "an event in order": ("order.lock", "order.block", "order.skip", "order.promote"),
    "a row by psql": ("fanout.route", "fanout.set_aside"),
    "a test": ("tester.finish_test",),
    "a replay": ("replay.lock_job", "replay.lock_webhook", "replay.room", "replay.advance", "replay.end_job"),
    "a discarded backlog": ("retention.cancel_discarded", "replay.end_discard"),
}

# Statements that no single row can make fail for others, with the reason.
WHOLE = {
    "fanout.fan_out": "a row that it refuses is found by halving: test_set_aside.py",
    "fanout.read_stuck": "its columns are checked by the outbox",
    "fanout.end_ahead": "ends rows that are in fan_out's way: test_bad_rows.py",
    "fanout.take_lane_wakes": "ids only",
    "doorbell.try_lock": "no rows",
    "fanout.oldest": "a number",
    "fanout.anything": "no rows",
    "doorbell.probe": "no rows",
    "claim.suspects": "ids only; compares columns that are checked",
    "claim.sweep": "reads times that are checked",
    "tester.claim_tests": "ids only",
    "retention.expire": "of one webhook by itself where all together fail: test_bad_rows.py",
    "retention.concerned": "ids only",
    "partitions.make_partitions": "each partition by itself: test_partitions.py",
    "partitions.drop_partition": "each partition by itself: test_partitions.py",
    "retention.forget_tests": "a step of housekeeping by itself: test_bad_rows.py",
    "retention.reschedule": "a step of housekeeping by itself",
    "retention.reset_health": "a step of housekeeping by itself",
    "retention.fail_from_now": "a step of housekeeping by itself",
    "retention.forget_marks": "a step of housekeeping by itself",
    "order.lock_discarded": "ids only; of one webhook by itself where all together fail",
    "order.lock_expired": "ids only; of one webhook by itself where all together fail",
    "order.lock_needless": "ids only; of one webhook by itself where all together fail",
    "retention.forget_orders": "a step of housekeeping by itself",
    "leases.give_back": "by fence; a relay that ends goes on to end",
    "replay.open_jobs": "ids only",
    "replay.window_end": "compares positions only",
    "retention.forget_jobs": "a step of housekeeping by itself",
    "retention.forget_answers": "a step of housekeeping by itself",
    "retention.forget_sessions": "a step of housekeeping by itself",
    "retention.forget_login_failures": "a step of housekeeping by itself",
    "retention.forget_audit": "a step of housekeeping by itself",
    "retention.fold_counts": "a step of housekeeping by itself",
    "presence.register": "the relay's own row",
    "presence.beat": "rows of relays, whose times are checked",
    "presence.reap": "rows of relays, whose times are checked",
    "presence.leave": "the relay's own row",
    "listen.end_backend": "no rows of ours",
    "listen.listens": "the relay's own row",
    "database.own_backend": "no rows of ours",
    "database.end_backends": "no rows of ours",
    "database.any_silent": "no rows of ours",
}

# Functions that get one row or one request, by scenario, as they are called. `needle` tells the
# call for the bad row from others. It is empty if only the bad webhook has such calls.
FUNCTIONS = {
    "an event": {
        "relay.send.target:Targets._target": "ID",
        "relay.send.delivery:envelope": "ID",
        "relay.transport.client:parse": "/bad",
        "relay.record.record:attempt_result": "ID",
        "relay.send.delivery:_end_without_request": "ID",
    },
    "a failure": {
        "relay.send.delivery:decide": "418",
        "relay.send.delivery:failure": "418",
        "relay.send.delivery:retry_after_ms": "x-bad",
        "relay.send.delivery:shown_headers": "ID",
        "relay.send.delivery:is_success": "418",
        "relay.record.settle:health_of": "",
        "relay.record.settle:after": "",
        "relay.record.settle:notices.delivery_failed": "",
        "relay.record.settle:notices.disabled": "",
        "relay.record.settle:notices.why_disabled": "",
        "relay.record.settle:columns": "",
        "relay.record.settle:subject_of": "",
    },
    "a row by psql": {"relay.lead.fanout:subject_of": "bad-row", "relay.lead.fanout:columns": "bad-row"},
    "a test": {
        "relay.send.tester:envelope": "ID",
        "relay.send.tester:failure": "418",
        "relay.send.tester:is_success": "418",
    },
}
# Functions that other tests try, or that work on no row, with the reason.
OTHER_FUNCTIONS = {
    "relay.record.settle:notices.recovered": "as notices.disabled, in the same call",
    "relay.send.target:schedule_of": "in Targets._target",
    "relay.lead.fanout:batch_of": "reads the server's answer; a fault is a fan-out that was not answered: test_fanout_leases.py",
    "relay.claim.claim:give_up": "its statement is one of those above",
    "relay.record.record:give_up": "its statement is one of those above",
    "relay.lead.retention:announce": "its statement is one of those above",
}
