"""A helper that refuses is not taken for one that has gone: its session stays."""

from __future__ import annotations

import pytest

PAGE = 4096
REFUSE_ONCE = """
import errno
from pagezap.native import control
usual = control.Client.{name}
def refuse(self, *arguments, **how):
    control.Client.{name} = usual
    raise control.ControlError(errno.EAGAIN, "{op}")
control.Client.{name} = refuse
"""


@pytest.fixture
def refusing(batch):
    """A command after which the helper seems to refuse an operation once."""

    def command(name):
        script = batch.directory / f"{name}.py"
        script.write_text(REFUSE_ONCE.format(name=name, op=name.upper()))
        return f"source {script}"

    return command


@pytest.mark.parametrize("name", ["release", "detaching", "show"])
def test_a_release_that_is_refused_can_be_tried_again(batch, inferiors, refusing, name):
    running = inferiors.start("keepmem.c", str(16 * PAGE))
    control = running.control
    output = batch.run(
        [f"zap --keep {control.base:#x}, +64K", f"uffd-watch {control.long('spare'):#x}, +8",
         refusing(name), "uffd-release --json", "uffd-status --json", "uffd-release --json"],
        pid=running.pid,
    )  # fmt: skip
    refused, status, released = (output.json(number) for number in (3, 4, 5))
    assert refused["error"]["kind"] == "helper", output
    assert status["helper"] is not None
    assert status["watches"] == 1
    assert released["released"] is True
    running.assert_clean()


def test_what_is_refused_at_a_detach_is_made_good(batch, inferiors, refusing):
    running = inferiors.start("keepmem.c", str(16 * PAGE))
    before = running.control.checksum()
    output = batch.run(
        [f"zap --keep {running.control.base:#x}, +64K", refusing("release"), "detach"],
        pid=running.pid,
    )
    assert "refused release (Resource temporarily unavailable)" in output.stderr, output
    assert "has gone" not in output.stderr
    running.assert_clean()
    assert running.control.checksum() == before


def test_a_refusal_at_a_resume_is_told_as_one(batch, program, refusing):
    output = batch.run(
        ["tbreak begin", "run", "uffd-watch it->key", refusing("hide"), "stepi",
         "uffd-status --json", "continue", "uffd-release", "kill"],
        program=[program],
    )  # fmt: skip
    assert "refused hide (Resource temporarily unavailable)" in output.stderr, output
    assert "has gone" not in output.stderr
    assert output.json(5)["helper"] is not None
    assert "Uffd watchpoint 1" in output.parts[6], output
