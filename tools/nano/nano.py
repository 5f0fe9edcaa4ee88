"""Makes Lemmy Nano. `python nano.py all` does everything; the other commands are its parts."""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--work", default=os.path.expanduser("~/.cache/lemmy-nano"), help="folder for states that are not kept")
    sub = p.add_subparsers(dest="command", required=True)
    sub.add_parser("tokenizer", help="train the vocabulary and write the configuration")
    t = sub.add_parser("text", help="train one piece of the text model")
    t.add_argument("number", type=int)
    t.add_argument("--steps", type=int, default=4500)
    t.add_argument("--minutes", type=float, default=98)
    t.add_argument("--muon", type=float, default=0.02)
    t.add_argument("--adam", type=float, default=0.003)
    a = p.parse_args()
    from lemmy_nano import files, train
    if a.command == "tokenizer":
        files.write_tokenizer()
    elif a.command == "text":
        train.text_piece(a.number, a.steps, a.minutes, a.work, a.muon, a.adam)


if __name__ == "__main__":
    main()
