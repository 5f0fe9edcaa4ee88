"""Shows a picture to a model and asks about it.

python image.py MODEL.gguf MMPROJ.gguf PICTURE "What is in the picture?"

MMPROJ is the file with the model's vision tower. PICTURE is a PNG, JPEG, WebP, GIF or BMP file.
"""

import sys

import lemmy


def main(path: str, mmproj: str, picture: str, question: str) -> None:
    image = lemmy.Image.open(picture)
    session = lemmy.Model(path, mmproj=mmproj).session()
    print(session.send(question, images=[image], temperature=0).text())


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
