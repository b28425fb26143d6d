"""Tracked work and caches: run once, in spite of failures, and not twice in a child."""

from __future__ import annotations

from tokenkeep.session.work import Work


def test_work_is_cancelled_once_and_caches_are_cleared_every_time() -> None:
    work, done = Work(), []
    work.track(lambda: done.append("work"))
    work.register_cache(lambda: done.append("cache"))
    assert (1, 0) == work.cancel_all()
    assert (0, 0) == work.cancel_all()
    assert (1, 0) == work.clear_caches() == work.clear_caches()
    assert ["work", "cache", "cache"] == done


def test_finished_work_is_not_cancelled_and_finishing_twice_is_harmless() -> None:
    work = Work()
    stop = work.track(lambda: 1 / 0)
    stop()
    stop()
    assert (0, 0) == work.cancel_all()


def test_a_failing_callback_is_counted_and_stops_nobody() -> None:
    work, done = Work(), []
    work.register_cache(lambda: 1 / 0)
    work.register_cache(lambda: done.append("cleared"))
    assert (2, 1) == work.clear_caches()
    assert ["cleared"] == done


def test_a_child_inherits_the_caches_and_not_the_work() -> None:
    work = Work()
    work.track(lambda: None)
    forget = work.register_cache(lambda: None)
    child = work.in_child()
    assert (0, 0) == child.cancel_all()
    assert (1, 0) == child.clear_caches()
    forget()
    assert (0, 0) == child.clear_caches()
