"""Who may do what."""

import ast
import inspect

import pytest

from dashboard.alarms import Alarms
from domain.role import RIGHTS, Role


def test_each_role_includes_those_before_it():
    assert Role.ADMINISTRATOR.includes(Role.OPERATOR)
    assert Role.OPERATOR.includes(Role.VIEWER)
    assert not Role.VIEWER.includes(Role.OPERATOR)
    assert not Role.OPERATOR.includes(Role.ADMINISTRATOR)


@pytest.mark.parametrize("act", RIGHTS)
def test_a_viewer_may_only_look_and_an_administrator_may_do_all(act):
    assert not Role.VIEWER.may(act)
    assert Role.ADMINISTRATOR.may(act)


def test_who_did_what_is_for_administrators():
    assert not Role.OPERATOR.may("audit")
    assert Role.OPERATOR.may("acknowledge")


def test_what_is_not_among_the_rights_nobody_may():
    assert not any(role.may("reboot") for role in Role)


def test_every_act_on_an_alarm_takes_a_right():
    tree = ast.parse(inspect.getsource(Alarms.act).strip().removeprefix("    ").replace("\n    ", "\n"))
    acts = {
        node.value.value
        for case in ast.walk(tree)
        if isinstance(case, ast.match_case)
        for node in ast.walk(case.pattern)
        if isinstance(node, ast.MatchValue) and isinstance(node.value, ast.Constant)
    }
    assert len(acts) > 5
    assert acts <= RIGHTS.keys()
