"""That the kill test's knowledge of letters finds what it is there to find, and nothing else."""

import unittest

from kill_model import COPIES, GONE, Model, Wrong

USER = "user0@example.test"
PLAIN, SEEN = frozenset(), frozenset({"\\Seen"})


class KillModel(unittest.TestCase):
    def setUp(self):
        self.model = Model()
        self.model.new("lmtp", USER, "x", ("INBOX", PLAIN))("acknowledged")

    def show(self, flags=PLAIN, uid="1", letter_id="x", mailbox="INBOX", since=None, validity="7"):
        self.model.shown(USER, mailbox, validity, [(uid, letter_id, flags)], since or self.model.now())

    def show_nothing(self, since=None):
        self.model.shown(USER, "INBOX", "7", [], since or self.model.now())

    def at_rest(self, *states, copies=None):
        self.model.at_rest(USER, {letter_id: state for letter_id, state in zip("xy", states)}, copies or {})

    def see_it(self):
        return self.model.change("flag", USER, "x", "INBOX", lambda flags: ("INBOX", flags | SEEN))

    def expunge_it(self):
        return self.model.change("expunge", USER, "x", "INBOX", lambda _: GONE)

    def test_what_was_acknowledged_is_there(self):
        self.at_rest(("INBOX", PLAIN))
        self.assertRaises(Wrong, self.at_rest)
        self.see_it()("acknowledged")
        self.assertRaises(Wrong, self.at_rest, ("INBOX", PLAIN))
        self.at_rest(("INBOX", SEEN))

    def test_what_was_refused_is_not_there(self):
        self.see_it()("refused")
        self.assertRaises(Wrong, self.at_rest, ("INBOX", SEEN))
        self.model.new("append", USER, "y", ("INBOX", PLAIN))("refused")
        self.assertRaises(Wrong, self.at_rest, ("INBOX", PLAIN), ("INBOX", PLAIN))
        self.at_rest(("INBOX", PLAIN))

    def test_what_was_never_answered_may_be_or_not(self):
        for flags in (PLAIN, SEEN):
            self.setUp()
            self.see_it()("unknown")
            self.at_rest(("INBOX", flags))
        self.see_it()("unknown")
        self.assertRaises(Wrong, self.at_rest)

    def test_a_uid_that_was_shown_names_no_other_letter(self):
        self.model.new("lmtp", USER, "y", ("INBOX", PLAIN))("acknowledged")
        self.show(uid="1")
        self.assertRaises(Wrong, self.show, uid="1", letter_id="y")
        self.assertRaises(Wrong, self.show, validity="8")

    def test_a_letter_that_was_shown_stays_though_its_delivery_was_not_answered(self):
        self.model.new("lmtp", USER, "y", ("INBOX", PLAIN))("unknown")
        self.model.shown(USER, "INBOX", "7", [("1", "x", PLAIN), ("2", "y", PLAIN)], self.model.now())
        self.assertRaises(Wrong, self.at_rest, ("INBOX", PLAIN))
        self.assertRaises(Wrong, self.show)  # without y

    def test_a_delivery_shows_when_it_is_placed_and_then_for_ever(self):
        self.show_nothing()
        self.show()
        self.assertRaises(Wrong, self.show_nothing)
        gone = self.expunge_it()
        self.show_nothing()
        gone("unknown")
        self.at_rest()

    def test_a_flag_that_was_shown_stays_though_its_change_was_not_answered(self):
        self.see_it()("unknown")
        self.show(PLAIN)  # it may come yet
        self.show(SEEN)
        self.assertRaises(Wrong, self.show, PLAIN)
        self.assertRaises(Wrong, self.at_rest, ("INBOX", PLAIN))
        self.at_rest(("INBOX", SEEN))

    def test_a_flag_that_nobody_set_is_wrong(self):
        self.assertRaises(Wrong, self.show, SEEN)
        self.assertRaises(Wrong, self.show, letter_id="z")

    def test_a_change_that_was_shown_may_be_changed_again(self):
        self.see_it()("unknown")
        self.show(SEEN)
        self.model.change("unflag", USER, "x", "INBOX", lambda flags: ("INBOX", flags - SEEN))("acknowledged")
        self.show(PLAIN)
        self.at_rest(("INBOX", PLAIN))

    def test_a_look_that_began_before_an_answer_may_be_old(self):
        begun = self.model.now()
        self.see_it()("acknowledged")
        self.show(PLAIN, since=begun)
        self.assertRaises(Wrong, self.show, PLAIN)
        self.show(SEEN)

    def test_a_look_at_a_node_without_the_home_may_be_as_old_as_the_last_rest(self):
        self.at_rest(("INBOX", PLAIN))
        self.see_it()("acknowledged")
        self.show(PLAIN, since=self.model.rest)
        self.show(SEEN, since=self.model.rest)
        self.assertRaises(Wrong, self.show, frozenset({"\\Flagged"}), since=self.model.rest)
        self.at_rest(("INBOX", SEEN))
        self.assertRaises(Wrong, self.show, PLAIN, since=self.model.rest)
        self.assertRaises(Wrong, self.show_nothing, since=self.model.rest)

    def test_copies_that_were_shown_stay(self):
        self.model.copied(USER, "x")("unknown")
        self.assertRaises(Wrong, self.model.shown, USER, COPIES, "7", [("1", "x", PLAIN), ("2", "x", PLAIN)], 1)
        self.model.shown(USER, COPIES, "7", [("1", "x", PLAIN)], self.model.now())
        self.assertRaises(Wrong, self.at_rest, ("INBOX", PLAIN))
        self.at_rest(("INBOX", PLAIN), copies={"x": 1})


if __name__ == "__main__":
    unittest.main()
