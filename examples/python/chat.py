"""A conversation: what is typed goes to the model, what it says is shown as it comes. Ctrl-C stops an answer.

python chat.py MODEL.gguf [TEMPERATURE]
"""

import sys

import lemmy


def main(path: str, temperature: float | None = None) -> None:
    model = lemmy.Model(path)
    print(f"{model.info.name} on {model.info.backend}", file=sys.stderr)
    session = model.session()
    for line in sys.stdin:
        reply = session.send(line.rstrip("\n"), temperature=temperature)
        try:
            for event in reply:
                if event.kind == lemmy.EventKind.TEXT:
                    print(event.text, end="", flush=True)
        except KeyboardInterrupt:
            reply.stop()
            print(" (stopped)", end="")
        print()


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1], float(sys.argv[2]) if len(sys.argv) > 2 else None)
