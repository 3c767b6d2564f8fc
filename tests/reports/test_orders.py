"""Whether an order holds at other learning rates, as the report's page says it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stbench.reports.orders import orders_at_other_rates
from stbench.reports.report_page import report_content, report_page
from stbench.reports.runs import load_runs

MakeRun = Callable[..., Path]


@pytest.mark.parametrize(("at_twice", "last", "answer"), [(20.0, "worse", "holds"), (5.0, "better", "depends on the")])
def test_an_order_is_said_at_three_rates(make_run: MakeRun, at_twice: float, last: str, answer: str) -> None:
    for seed in range(6):
        for rate, fvd in ((0.5, 20.0), (1.0, 20.0), (2.0, at_twice)):
            if rate == 1.0 or seed < 5:  # the rate of the most seeds is the one that an arm is compared at
                jitter = 1 + 0.001 * seed
                make_run("latte1", seed, 10.0 * jitter, **{"config.train.lr": rate})
                run = make_run("dit", seed, fvd * jitter, **{"config.train.lr": rate})
    reported = load_runs([run.parent])
    [said] = orders_at_other_rates(reported)
    names = ["dit against latte1", "latte1 against dit"]
    assert said.startswith("By FVD[shapes3d], ") and any(name in said for name in names)
    assert answer in said
    assert said in report_page(reported, report_content(reported))


def test_runs_at_one_rate_have_no_such_order(make_run: MakeRun) -> None:
    make_run("dit", 0, 20.0)
    assert orders_at_other_rates(load_runs([make_run("latte1", 0, 10.0).parent])) == []
