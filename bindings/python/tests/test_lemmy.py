"""Conversations with a model file that LEMMY_TEST_MODEL names (Lemmy Nano), through the installed package."""

import gc
import os
import sys
import tempfile
import threading
import types
import unittest
import weakref
from pathlib import Path
from unittest import mock

import lemmy
from lemmy import EventKind, FinishReason

PATH = os.environ["LEMMY_TEST_MODEL"]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The current weather in a city",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "description": "City name"}},
            "required": ["city"],
        },
    },
}


class Case(unittest.TestCase):
    model: lemmy.Model

    @classmethod
    def setUpClass(cls) -> None:
        cls.model = lemmy.Model(PATH, threads=2)

    @classmethod
    def tearDownClass(cls) -> None:
        cls.model.close()


class Models(Case):
    def test_facts(self) -> None:
        info = self.model.info
        self.assertEqual(info.architecture, "gemma4")
        self.assertEqual(info.vocab, 2048)
        self.assertFalse(info.has_vision)
        memory = lemmy.Model.estimate(PATH, 4096)
        self.assertGreater(memory.kv_per_session, 0)
        self.assertEqual(memory.total, memory.weights + memory.engine + memory.kv_per_session + memory.scratch)
        self.assertIn("cpu", lemmy.features)

    def test_text_to_tokens_and_back(self) -> None:
        text = "What is 12 + 30? Größe, \U0001f980, \0"
        ids = self.model.tokenize(text)
        self.assertEqual(self.model.detokenize(ids), text)
        self.assertEqual(b"".join(map(self.model.token_bytes, ids)).decode(), text)
        self.assertEqual(self.model.tokenize(""), [])
        turn = self.model.token_find("<|turn>")
        self.assertEqual(self.model.tokenize("<|turn>", parse_control=True), [turn])
        self.assertNotIn(turn, self.model.tokenize("<|turn>"))
        self.assertIsNone(self.model.token_find("no such token"))

    def test_a_file_that_is_not_there(self) -> None:
        with self.assertRaises(lemmy.Error) as caught:
            lemmy.Model("no/such/model.gguf")
        self.assertEqual(caught.exception.name, "Io")
        self.assertIn("no/such/model.gguf", str(caught.exception))

    def test_loading_shows_how_far_it_is_and_can_be_stopped(self) -> None:
        stages: set[int] = set()
        lemmy.Model(PATH, threads=1, on_progress=lambda stage, done, total: stages.add(stage)).close()
        self.assertEqual(stages, {1, 2, 3})
        with self.assertRaises(lemmy.Error) as caught:
            lemmy.Model(PATH, threads=1, on_progress=lambda *_: False)
        self.assertEqual(caught.exception.name, "Cancelled")

    def test_an_exception_of_a_callback_comes_out(self) -> None:
        def fail(*_: int) -> None:
            raise ZeroDivisionError("mine")

        with self.assertRaisesRegex(ZeroDivisionError, "mine"):
            lemmy.Model(PATH, threads=1, on_progress=fail)

    def test_a_closed_model_says_so(self) -> None:
        with lemmy.Model(PATH, threads=1) as model:
            session = model.session(context=256)
        with self.assertRaises(ValueError):
            model.tokenize("x")
        self.assertIn("42", session.send("What is 12 + 30?", temperature=0).text())


class Replies(Case):
    def test_a_conversation(self) -> None:
        session = self.model.session(context=1024)
        self.assertEqual(session.send("What is 12 + 30?", temperature=0).text(), "42")
        session.send("My name is Anna.", temperature=0).text()
        self.assertIn("Anna", session.send("What is my name?", temperature=0).text())
        self.assertEqual([m["role"] for m in session.messages], ["user", "assistant"] * 3)

    def test_events_and_figures(self) -> None:
        reply = self.model.session(context=512).send("What is 12 + 30?", temperature=0, logprobs=2)
        events = list(reply)
        self.assertEqual(events[-1].finish_reason, FinishReason.STOP)
        self.assertTrue(any(e.kind == EventKind.PREFILL and e.done == e.total for e in events))
        tokens = [e for e in events if e.kind == EventKind.TOKEN]
        self.assertTrue(all(len(e.top) == 2 and e.logprob <= 0 for e in tokens))
        self.assertIn(b"42", b"".join(e.bytes for e in tokens))
        finish = reply.finish()
        self.assertEqual((finish.reason, finish.generated, finish.stop), (FinishReason.STOP, len(tokens), None))

    def test_thoughts_come_first(self) -> None:
        events = list(self.model.session(context=512).send("What is 12 + 30?", temperature=0, thinking=True))
        kinds = [e.kind for e in events if e.kind in (EventKind.THINKING, EventKind.TEXT)]
        self.assertEqual(kinds, sorted(kinds))
        self.assertIn(EventKind.THINKING, kinds)

    def test_a_tool_is_called_and_answered(self) -> None:
        session = self.model.session(context=1024, tools=[WEATHER])
        (call,) = session.send("What is the weather in London?", temperature=0).tool_calls()
        self.assertEqual((call.name, call.arguments), ("get_weather", {"city": "London"}))
        answer = {"condition": "rainy", "temperature": 11}
        session.add([{"role": "tool", "tool_call_id": call.id, "content": answer}])
        text = session.generate(temperature=0).text()
        self.assertIn("rainy", text)
        self.assertIn("11", text)

    def test_an_answer_fits_a_schema(self) -> None:
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        session = self.model.session(context=512)
        reply = session.send("What is 12 + 30?", temperature=0, constraint=schema, max_tokens=60)
        self.assertRegex(reply.text(), r'^\{\s*"n"')

    def test_the_whole_conversation_each_time(self) -> None:
        session = self.model.session(context=512)
        messages = [{"role": "user", "content": "What is 12 + 30?"}]
        reused, read = session.sync(messages)
        self.assertEqual(reused, 0)
        self.assertGreater(read, 5)
        self.assertEqual(sum(session.sync(messages)), read)
        self.assertEqual(session.generate(temperature=0).text(), "42")

    def test_logits_can_be_seen_and_changed(self) -> None:
        banned = self.model.tokenize("4")[0]

        def ban(position: int, logits: "list[float]") -> None:
            logits[banned] = float("-inf")

        session = self.model.session(context=512)
        reply = session.send("What is 12 + 30?", temperature=0, on_logits=ban, max_tokens=8)
        self.assertNotIn("4", reply.text())

    def test_an_exception_in_a_hook_comes_out_of_the_loop(self) -> None:
        def fail(event: lemmy.Event) -> None:
            raise KeyError("mine")

        session = self.model.session(context=512)
        with self.assertRaises(KeyError):
            session.send("What is 12 + 30?", on_token=fail).text()
        self.assertEqual(session.send("What is 12 + 30?", temperature=0).text(), "42")

    def test_cancel_from_another_thread(self) -> None:
        cancel = lemmy.Cancel()
        session = self.model.session(context=65536)
        thread = threading.Timer(0.05, cancel.trigger)
        thread.start()
        endless = lemmy.Sampling(bias={token: -1e9 for token in range(2048) if self.model.is_end(token)})
        reply = session.send("Count", sampling=endless, cancel=cancel)
        list(reply)
        thread.join()
        self.assertEqual(reply.finish().reason, FinishReason.CANCELLED)
        cancel.reset()
        self.assertEqual(self.model.session(context=512).send("What is 12 + 30?", temperature=0).text(), "42")

    def test_a_reply_ends_with_the_next_one(self) -> None:
        session = self.model.session(context=512)
        first = session.send("What is 12 + 30?", temperature=0)
        self.assertEqual(session.send("What is 12 + 30?", temperature=0).text(), "42")
        with self.assertRaises(RuntimeError):
            next(first)
        with self.assertRaises(RuntimeError):
            first.finish()
        first.stop()

    def test_a_session_goes_with_its_last_name(self) -> None:
        def ignore(event: lemmy.Event) -> None:
            pass

        gc.disable()
        try:
            session = self.model.session(context=512)
            reply = session.send("What is 12 + 30?", temperature=0, on_token=ignore)
            next(reply)
            handle = weakref.ref(session.handle)
            del session
            self.assertEqual(reply.text(), "42")
            del reply
            self.assertIsNone(handle())
        finally:
            gc.enable()

    def test_after_an_exception_no_callback_runs(self) -> None:
        tokens: list[lemmy.Event] = []

        def fail(position: int, logits: "list[float]") -> None:
            raise KeyError("first")

        session = self.model.session(context=512)
        with self.assertRaisesRegex(KeyError, "first"):
            session.send("What is 12 + 30?", on_logits=fail, on_token=tokens.append).text()
        self.assertEqual(tokens, [])

    def test_a_nul_that_would_end_a_name(self) -> None:
        for wishes in ({"stop": ["a\0b"]}, {"tool_choice": "a\0b"}):
            with self.assertRaisesRegex(ValueError, "NUL"):
                self.model.session(context=512).send("Hi", **wishes)
        with self.assertRaisesRegex(ValueError, "NUL"):
            lemmy.Model("model.gguf\0x")

    def test_a_full_context_says_by_how_much(self) -> None:
        with self.assertRaises(lemmy.Error) as caught:
            self.model.session(context=16).send("word " * 100)
        self.assertEqual(caught.exception.name, "ContextFull")
        self.assertEqual(caught.exception.values["capacity"], 16)
        self.assertGreater(caught.exception.values["requested"], 16)


class Raw(Case):
    def test_a_loop_of_ones_own(self) -> None:
        prompt = self.model.render_chat([{"role": "user", "content": "What is 12 + 30?"}])
        ids = self.model.tokenize(prompt, parse_control=True)
        session = self.model.session(context=512)
        sampler = lemmy.Sampler(lemmy.Sampling(temperature=0))
        said: list[int] = []
        while not (said and self.model.is_end(said[-1])) and len(said) < 20:
            said.append(sampler.sample(session.forward(ids if not said else said[-1:])))
        self.assertEqual(self.model.detokenize(said), "42")

    def test_fork_rewind_and_save(self) -> None:
        session = self.model.session(context=512)
        session.send("My name is Anna.", temperature=0).text()
        position = session.position
        other = session.fork()
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "session")
            session.save(path)
            third = self.model.restore(path)
        for each in (session, other, third):
            self.assertIn("Anna", each.send("What is my name?", temperature=0).text())
        session.rewind(position)
        self.assertEqual(len(session.tokens), position)
        session.clear()
        self.assertEqual((session.position, session.messages), (0, []))


class Pictures(Case):
    def test_a_blind_model_says_so(self) -> None:
        pixel = bytes.fromhex(
            "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de"
            "0000000c49444154789c63f8cfc000000301010018dd8db00000000049454e44ae426082"
        )
        if "vision" not in lemmy.features:
            with self.assertRaises(lemmy.Error) as caught:
                lemmy.Image(pixel)
            self.assertEqual(caught.exception.name, "Unsupported")
            return
        with self.assertRaises(lemmy.Error) as caught:
            self.model.session(context=512).send("What is this?", images=[lemmy.Image(pixel, soft_tokens=70)])
        self.assertIn(caught.exception.name, ("Unsupported", "Argument"))
        with self.assertRaises(lemmy.Error) as caught:
            lemmy.Image(b"no picture")
        self.assertEqual(caught.exception.name, "Image")


class Hub(unittest.TestCase):
    """from_pretrained against a stand-in for the package huggingface_hub."""

    def hub(self, files: list[str]) -> mock._patch_dict:
        module = types.ModuleType("huggingface_hub")
        api = types.SimpleNamespace(list_repo_files=lambda repo_id, revision: files)
        module.HfApi = lambda: api  # type: ignore[attr-defined]
        module.hf_hub_download = lambda repo_id, name, revision: PATH  # type: ignore[attr-defined]
        return mock.patch.dict(sys.modules, {"huggingface_hub": module})

    def test_a_pattern_that_fits_one_file(self) -> None:
        with self.hub(["a-Q4_K_M.gguf", "a-Q8_0.gguf"]):
            model = lemmy.Model.from_pretrained("someone/a", "*Q8_0.gguf", threads=1)
        self.assertEqual(model.info.vocab, 2048)

    def test_a_pattern_that_fits_many(self) -> None:
        with self.hub(["a-Q4_K_M.gguf", "a-Q8_0.gguf"]), self.assertRaisesRegex(ValueError, "must fit one file"):
            lemmy.Model.from_pretrained("someone/a", "*.gguf")

    def test_parts_of_one_file_count_as_one(self) -> None:
        from lemmy import _hub

        parts = ["b-00002-of-00002.gguf", "b-00001-of-00002.gguf"]
        self.assertEqual(_hub.choose("b-*.gguf", parts), sorted(parts))

    def test_without_the_package(self) -> None:
        absent = mock.patch.dict(sys.modules, {"huggingface_hub": None})
        with absent, self.assertRaisesRegex(ImportError, "pip install"):
            lemmy.Model.from_pretrained("someone/a", "a.gguf")


if __name__ == "__main__":
    unittest.main()
