"""`hallwatch alerts send-test`: a real page over a configured channel, and what became of it."""

import asyncio
import json

import pytest

from tests.contract.notify_receivers import HookReceiver, MailReceiver, PagerDutyReceiver
from tests.servers.hallwatch import SITE, hallwatch, write_configuration

MEI, LIN = "mei@site.example", "lin@site.example"


@pytest.fixture
async def plant(tmp_path):
    async with (
        MailReceiver().serve() as mail,
        HookReceiver().serve() as hook,
        PagerDutyReceiver().serve() as duty,
    ):
        channels = {
            "mail": mail.settings() | {"recipients": [MEI, LIN]},
            "hook": hook.settings(),
            "duty": duty.settings(),
        }
        watcher = {"url": f"http://127.0.0.1:{hook.port}/ping"}
        write_configuration(tmp_path / "config", {}, SITE, {"channels": channels, "heartbeat": watcher})
        yield tmp_path / "config", mail, hook, duty


async def command(*words, check=True):
    return await asyncio.to_thread(hallwatch, *words, check=check)


async def send(config, *words, check=True):
    done = await command("alerts", "send-test", *words, "-c", config, "--json", check=check)
    return done.returncode, {o["target"]: (o["delivered"], o["remark"]) for o in json.loads(done.stdout)}


async def test_every_recipient_gets_a_page_that_says_that_it_is_a_test(plant):
    config, mail, hook, _ = plant
    assert await send(config, "mail") == (0, {f"mail/{MEI}": (True, ""), f"mail/{LIN}": (True, "")})
    assert sorted(mail.to) == [[LIN], [MEI]]
    assert all("Test page from Hallwatch: nothing is wrong" in text for text in mail.texts())
    assert await send(config, f"mail/{LIN}") == (0, {f"mail/{LIN}": (True, "")})
    assert mail.to[2:] == [[LIN]]
    assert hook.got == []


async def test_who_was_not_told_is_told_with_the_reason(plant):
    config, mail, hook, _ = plant
    mail.of_recipients[LIN] = "550 no such mailbox"
    code, told = await send(config, "mail", check=False)
    assert code == 1
    assert told[f"mail/{MEI}"] == (True, "")
    assert told[f"mail/{LIN}"][0] is False
    assert "no such mailbox" in told[f"mail/{LIN}"][1]
    hook.answer = 500
    assert await send(config, "hook", check=False) == (
        1,
        {"hook": (False, "webhook: the receiver answered 500")},
    )


async def test_what_a_receiver_keeps_open_can_be_ended(plant):
    config, _, _, duty = plant
    told = await command("alerts", "send-test", "duty", "-c", config)
    assert "stays open there" in told.stdout
    assert list(duty.incidents.values()) == ["triggered"]
    assert await send(config, "duty", "--clear") == (0, {"duty": (True, "")})
    assert list(duty.incidents.values()) == ["resolved"]


async def test_a_channel_that_is_not_there_is_told_with_those_that_are(plant):
    config, *_ = plant
    told = await command("alerts", "send-test", "pager", "-c", config, check=False)
    assert told.returncode == 2
    assert f"there are: duty, hook, mail, mail/{LIN}, mail/{MEI}" in told.stderr


async def test_a_probe_reaches_the_same_channels_and_the_watcher_and_tells_nobody(plant):
    config, mail, hook, duty = plant
    told = json.loads((await command("probe", "channels", "-c", config, "--json")).stdout)
    assert {row["channel"]: row["ok"] for row in told} == dict.fromkeys(
        ("mail", "hook", "duty", "heartbeat"), True
    )
    assert mail.got == hook.got == duty.got == []
