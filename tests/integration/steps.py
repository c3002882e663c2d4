"""The steps in which a relay works on rows: the statements that it runs, and the functions that it calls for one row.

A statement or a function that is in none of these tables fails tests/architecture/test_steps.py: whoever adds one says which scenario
shows that a bad row in it ends by itself, or why no single row can make it fail.
"""

# Statements that are given a webhook's rows, by the scenario of test_bad_rows.py in which one of them fails.
STATEMENTS = {
    "an event": ("target.targets", "record.record", "lead.notify_work"),
    "an event by a claim": ("claim.claim", "give_up.give_up", "claim.soonest", "leases.give_back_unknown"),
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

# Those that no single row can make fail for others: why.
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
    "retention.reset_lanes": "a step of housekeeping by itself",
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
    "lead.end_backend": "no rows of ours",
    "lead.listens": "the relay's own row",
    "database.own_backend": "no rows of ours",
    "database.end_backends": "no rows of ours",
    "database.deaf": "no rows of ours",
}

# Functions that are given one row or one request, by scenario, as they are called; `needle` tells the bad row's call from others, and is
# empty where only the bad webhook has such calls.
FUNCTIONS = {
    "an event": {
        "relay.target:Targets._target": "ID",
        "relay.send:envelope": "ID",
        "relay.transport.client:parse": "/bad",
        "relay.record:attempt_result": "ID",
        "relay.send:_end_without_request": "ID",
    },
    "a failure": {
        "relay.send:decide": "418",
        "relay.send:failure": "418",
        "relay.send:retry_after_ms": "x-bad",
        "relay.send:shown_headers": "ID",
        "relay.send:is_success": "418",
        "relay.settle:lane_of": "",
        "relay.settle:after": "",
        "relay.settle:notices.delivery_failed": "",
        "relay.settle:notices.disabled": "",
        "relay.settle:notices.why_disabled": "",
        "relay.settle:columns": "",
        "relay.settle:subject_of": "",
    },
    "a row by psql": {"relay.fanout:subject_of": "bad-row", "relay.fanout:columns": "bad-row"},
    "a test": {"relay.tester:envelope": "ID", "relay.tester:failure": "418", "relay.tester:is_success": "418"},
}
# And those that are tried elsewhere, or that are no step of a row's: why.
OTHER_FUNCTIONS = {
    "relay.settle:notices.recovered": "as notices.disabled, in the same call",
    "relay.target:schedule_of": "in Targets._target",
    "relay.fanout:batch_of": "reads the server's answer; a fault is a fan-out that was not answered: test_relay_untold.py",
    "relay.claim:give_up": "its statement is one of those above",
    "relay.record:give_up": "its statement is one of those above",
    "relay.retention:announce": "its statement is one of those above",
}
