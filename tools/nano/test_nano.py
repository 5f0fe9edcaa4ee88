"""Checks of the data and of the trainer's arithmetic: `python -m unittest` in this folder."""

import itertools
import unittest

import torch

from lemmy_nano import files, model, render, tokenizer, vision, world
from lemmy_nano.sample import Chooser


def some(n, seed=5):
    return list(itertools.islice(world.training(seed), n))


class Data(unittest.TestCase):
    def test_the_target_is_what_the_template_prints(self):
        for s in some(400):
            whole = render.chat([*s.messages, s.answer], s.tools, s.thinking, generate=False)
            prompt = render.prompt(s)
            closed = "<|channel>thought\n<channel|>"
            if prompt.endswith(closed):
                prompt = prompt.removesuffix(closed)
            if prompt.endswith("<tool_response|><|channel>thought\n"):
                # after a response the template opens the thought for the model; in a history it prints the thought
                # whole
                prompt = prompt.removesuffix("<|channel>thought\n")
                self.assertEqual(whole, prompt + "<|channel>thought\n" + render.target(s) + "\n")
            else:
                self.assertEqual(whole.removesuffix("\n"), prompt + render.target(s))

    def test_training_never_sees_a_test_prompt(self):
        wanted = {render.prompt(c) for c in files.test_cases(30)}
        seen = {render.prompt(s) for s in some(6000)}
        self.assertFalse(wanted & seen)

    def test_the_model_learns_its_own_words_only(self):
        e = files.encoder()
        for s in some(200):
            ids, learn = e.encode(s)
            said = e.tok.decode([i for i, l in zip(ids, learn) if l], skip_special_tokens=False)
            self.assertTrue(said.endswith(render.target(s)))
            self.assertNotIn("<|turn>", said)
            self.assertNotIn("<tool_response|>", said)

    def test_numbers_are_read_digit_by_digit(self):
        tok = files.encoder().tok
        self.assertEqual(tok.encode("12 + 30 = 42").tokens, ["1", "2", "▁+", "▁", "3", "0", "▁=", "▁", "4", "2"])
        for text in ("Grüße, 世界! 🦊", "a  b\n\n\tc", "<|turn>"):
            self.assertEqual(tok.decode(tok.encode(text).ids, skip_special_tokens=False), text)
        self.assertEqual(tok.get_vocab_size(), model.VOCABULARY)
        self.assertTrue(all(tok.token_to_id(c) == i for i, c in enumerate(tokenizer.CONTROL)))


class Arithmetic(unittest.TestCase):
    def test_the_fast_forward_equals_transformers(self):
        m = model.build(files.read_config())
        model.initialise(m, 3)
        with torch.no_grad():
            for i, layer in enumerate(m.model.language_model.layers):
                layer.layer_scalar.fill_(0.8 + 0.05 * i)
        fast = model.FastText(m)
        processor = vision.Processor(files.encoder())
        vision.standardise(m, processor, Chooser(1))
        self.assertLess(model.check_fast_text(m, fast), 1e-4)
        self.assertLess(vision.check(m, fast, processor), 1e-4)


if __name__ == "__main__":
    unittest.main()
