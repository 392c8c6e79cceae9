"""A gdb script is cut into the commands that gdb finds in it."""

from __future__ import annotations

import pytest

from pagezap.commands.outside import script

BLOCKS = [
    "python\nfor i in range(2):\n    if i:\n        print(i)\nend",
    "py\nwhile False:\n    pass\n end ",
    "python print(1)",
    "guile (display 1)",
    "guile\n(if 1 2)\nif 1\nend",
    "compile code int i = 1",
    "compile code\nif (1)\n    ;\nend",
    "compile code -raw\nvoid f(void) { }\nend",
    "compile file f.c",
    "define twice\nif $argc\nwhile(0)\nend\nprint $arg0\nelse\nprint 0\nend\nend",
    "define report\npython\nif 1:\n    print(2)\nend\nprint 3\nend",
    "document twice\nwhile it prints,\nif it is given a number\nend",
    "commands 1\nsilent\nif $rip\nprint 1\nend\nend",
    "comm\ncontinue\nend",
    "if(1)\nprint 1\nend",
    "actions 1\ncollect $rip\nwhile-stepping 2\ncollect $rsp\nend\nend",
    "print 1 + \\\n  2",
    "iffy",
]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_block_is_one_command(tmp_path, block):
    path = tmp_path / "script.gdb"
    path.write_text(f"# first\nprint 1\n\n{block}\n  # last\nprint 2\n")
    assert list(script.commands(str(path))) == ["print 1", block, "print 2"]


def test_what_is_not_ended_is_left_to_gdb(tmp_path):
    path = tmp_path / "script.gdb"
    path.write_text("print 1\nif 1\nprint 2\n")
    assert list(script.commands(str(path)))[1].startswith("if 1\nprint 2")
