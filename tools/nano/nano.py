"""Makes Lemmy Nano: vocabulary, training in pieces, scores, GGUF files.

`python nano.py all` does everything from nothing (about six hours on two cores). A later piece alone:
`python nano.py text 4`. An interrupted piece goes on where it was when the same command is given again.
"""

import argparse
import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# (kind, number, minutes): what `all` runs, in order
PIECES = [("text", 1, 60), ("text", 2, 50), ("text", 3, 60), ("vision", 1, 82), ("vision", 2, 98)]
KINDS = ("text", "vision")
RATES = (0.02, 0.003)  # of Muon, of AdamW


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument(
        "--work", default=os.path.expanduser("~/.cache/lemmy-nano"), help="folder for states that are not kept"
    )
    sub = p.add_subparsers(dest="command", required=True)
    sub.add_parser("all", help="everything")
    sub.add_parser("tokenizer", help="train the vocabulary and write the configuration")
    for kind in KINDS:
        t = sub.add_parser(kind, help=f"train one piece of the {kind} stage")
        t.add_argument("number", type=int, help="1 starts from nothing, later ones from the committed weights")
        t.add_argument("--steps", type=int, default=100_000, help="most steps")
        t.add_argument("--minutes", type=float, default=98, help="most minutes")
        t.add_argument("--muon", type=float, default=RATES[0], help="learning rate of the matrices")
        t.add_argument("--adam", type=float, default=RATES[1], help="learning rate of the rest")
    e = sub.add_parser("eval", help="scores on the held-out cases")
    e.add_argument("--each", type=int, default=100, help="cases of each group")
    e.add_argument("--gguf", help="score this file's numbers (dequantised) in place of the original's")
    e.add_argument("--lemmy", metavar="BINARY", help="compute with this lemmy binary (needs --gguf)")
    e.add_argument("--generate", action="store_true", help="really generate, token by token")
    e.add_argument("--pictures", action="store_true", help="only the picture groups")
    x = sub.add_parser("export", help="write GGUF files")
    x.add_argument("types", nargs="*", default=["q8_0"], help="f32, bf16, q8_0")
    x.add_argument("--out", help="another folder")
    sub.add_parser("cases", help="write the held-out cases as a fixture")
    sub.add_parser("plot", help="draw the loss curve")
    return p.parse_args()


def main():
    a = arguments()
    from pathlib import Path

    from lemmy_nano import cases, export, files, plot, report, train

    if a.command == "all":
        files.write_tokenizer()
        for kind, number, minutes in PIECES:
            train.piece(kind, number, 100_000, minutes, a.work, *RATES)
        export.export()
        cases.write(files.MODELS / "nano-cases.jsonl", 12)
        plot.plot()
        report.evaluate(100)
    elif a.command == "tokenizer":
        files.write_tokenizer()
    elif a.command in KINDS:
        train.piece(a.command, a.number, a.steps, a.minutes, a.work, a.muon, a.adam)
    elif a.command == "eval":
        report.evaluate(a.each, a.gguf, a.lemmy, a.generate, a.pictures)
    elif a.command == "export":
        export.export(out=Path(a.out) if a.out else files.MODELS, quants=a.types)
    elif a.command == "cases":
        cases.write(files.MODELS / "nano-cases.jsonl", 12)
    elif a.command == "plot":
        plot.plot()


if __name__ == "__main__":
    main()
