from pada_agent.components.core.cost.budget import Usage


def test_usages_add_up():
    first = Usage(
        calls=3,
        paid_calls=2,
        replayed=1,
        input_tokens=10,
        cached_input_tokens=6,
        output_tokens=4,
        usd=0.5,
        recovered={"prose": 1},
    )
    second = Usage(
        calls=1,
        paid_calls=1,
        cached_input_tokens=1,
        usd=0.25,
        retries=2,
        recovered={"prose": 2, "fence": 1},
        failed=1,
        unrecovered={"empty": 1},
        silences=1,
        capped="calls cap 4",
    )
    total = sum([first, second], Usage())
    assert total == Usage(
        calls=4,
        paid_calls=3,
        replayed=1,
        input_tokens=10,
        cached_input_tokens=7,
        output_tokens=4,
        usd=0.75,
        retries=2,
        recovered={"fence": 1, "prose": 3},
        failed=1,
        unrecovered={"empty": 1},
        silences=1,
        capped="calls cap 4",
    )
    assert total.tokens == 14
    assert first.recovered == {"prose": 1}, "adding must not change what is added"


def test_the_cap_reached_first_is_kept():
    assert (Usage(capped="calls") + Usage(capped="usd")).capped == "calls"
