"""Random numbers of a step, and what of them its shares and parts have in common."""
import random

from steps import rng


def test_the_numbers_of_a_purpose_start_alike_each_time():
    one = rng()
    assert one.numbers('dukd').random() == one.numbers('dukd').random() == rng().numbers('dukd').random()


def test_another_iteration_seed_or_purpose_has_other_numbers():
    found = [rng(), rng(8), rng(7, 4)]
    assert len({draw.numbers('dukd').random() for draw in found} | {rng().numbers('other').random()}) == 4


def test_all_shares_of_a_step_have_the_same_numbers():
    assert len({rng(share=(index, 3)).numbers('dukd').random() for index in range(3)}) == 1


def test_each_sample_has_numbers_of_its_own():
    one = rng()
    found = [own.random() for own in one.numbers_of_samples('dukd', 5)]
    assert len({*found, one.numbers('dukd').random()}) == 6


def test_a_sample_has_the_numbers_of_its_place_in_the_whole_batch():
    whole = [own.random() for own in rng().numbers_of_samples('dukd', 6)]
    shares = [own.random() for index in range(3) for own in rng(share=(index, 3)).numbers_of_samples('dukd', 2)]
    assert shares == whole


def test_drawing_leaves_the_generators_of_others_alone():
    before = random.getstate()
    rng().numbers_of_samples('dukd', 2)[1].random()
    rng().numbers('dukd').random()
    assert random.getstate() == before
