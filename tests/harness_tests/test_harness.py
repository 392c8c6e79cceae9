"""The harness itself, on bare debuggers: a test that cannot fail shows nothing."""

from __future__ import annotations

import pytest

from harness import drivers, observe


def test_an_inferior_is_driven_and_observed(inferiors):
    running = inferiors.start("keepmem.c", str(1 << 20))
    control = running.control
    first = control.checksum()
    assert first == control.checksum()
    assert all(observe.present(running.pid, control.base, 1 << 20))
    assert observe.leftovers(running.pid, running.before) == []
    control.runs_on()
    assert running.finish() == 0


def test_leftovers_are_noticed(inferiors):
    running = inferiors.start("selfuffd.c")
    assert any("registered" in line for line in observe.leftovers(running.pid, running.before))
    stale = running.before._replace(descriptors={}, regions=running.before.regions[1:])
    found = " ".join(observe.leftovers(running.pid, stale))
    assert "descriptors" in found
    assert "mapping more" in found


def test_batch(gdb, tmp_path, inferiors):
    running = inferiors.start("keepmem.c", "65536")
    output = drivers.Batch(gdb, tmp_path, load=False).run(
        ["print 6 * 7", "nonsense", "print memory_length"], pid=running.pid
    )
    assert output.parts[0].strip() == "$1 = 42"
    assert "= 65536" in output.parts[2]
    assert "Undefined command" in output.stderr
    running.assert_clean()


@pytest.mark.parametrize("kind", ["interactive", "mi"])
def test_live_drivers(gdb, kind, tmp_path, inferiors, request):
    running = inferiors.start("keepmem.c", "65536")
    running.control.go()
    driver = request.getfixturevalue(kind)(pid=running.pid, load=False)
    assert "$1 = 42" in driver.command("print 6 * 7")
    assert "Breakpoint 1" in driver.command("break tick")
    assert "tick ()" in driver.command("continue")
    assert "Undefined command" in driver.command("nonsense")
    driver.quit()
    running.control.runs_on()
    running.assert_clean()
