// Where one writes: the text, the pictures waiting to be sent, send and stop.

import { button, byId, el } from './dom.js';
import { note } from './dialogs.js';
import { pictureFiles, readPicture } from './images.js';

const MAX_PICTURES = 16; // what the server takes in one request

export class Composer {
  /** `actions`: send(text, pictures) returns whether it was taken; stop(); editLast(). */
  constructor(actions) {
    this.actions = actions;
    this.pictures = [];
    this.readable = true;
    this.input = byId('input');
    this.form = byId('composer');
    this.picker = byId('picker');
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      this.submit();
    });
    byId('stop').addEventListener('click', () => actions.stop());
    this.input.addEventListener('input', () => this.#resize());
    this.input.addEventListener('keydown', (event) => this.#key(event));
    this.input.addEventListener('paste', (event) => this.#paste(event));
    byId('attach').addEventListener('click', () => this.picker.click());
    this.picker.addEventListener('change', () => {
      this.add([...this.picker.files]);
      this.picker.value = '';
    });
    this.#prepareDrop();
  }

  #key(event) {
    if (event.isComposing) return;
    if (event.key === 'Enter' && !event.shiftKey) {
      event.preventDefault();
      this.submit();
    } else if (event.key === 'ArrowUp' && !this.input.value && !this.pictures.length) {
      if (this.actions.editLast()) event.preventDefault();
    }
  }

  #paste(event) {
    const files = pictureFiles(event.clipboardData);
    if (!files.length) return;
    event.preventDefault();
    this.add(files);
  }

  #prepareDrop() {
    let depth = 0;
    const over = (change) => {
      depth = Math.max(0, depth + change);
      document.body.classList.toggle('dropping', depth > 0);
    };
    const isFiles = (event) => event.dataTransfer?.types.includes('Files');
    addEventListener('dragenter', (event) => isFiles(event) && over(1));
    addEventListener('dragleave', (event) => isFiles(event) && over(-1));
    addEventListener('dragover', (event) => isFiles(event) && event.preventDefault());
    addEventListener('drop', (event) => {
      if (!isFiles(event)) return;
      event.preventDefault();
      over(-depth);
      const files = pictureFiles(event.dataTransfer);
      if (files.length) this.add(files);
      else note('Only pictures can be dropped here.');
    });
  }

  /** Reads pictures and shows them above the text. */
  async add(files) {
    if (!this.readable) {
      note('The model of this server reads no pictures.');
      return;
    }
    for (const file of files) {
      if (this.pictures.length >= MAX_PICTURES) {
        note(`At most ${MAX_PICTURES} pictures fit into one message.`);
        break;
      }
      try {
        this.pictures.push(await readPicture(file));
      } catch (error) {
        note(error.message);
      }
      this.#showPictures();
    }
    this.focus();
  }

  #showPictures() {
    const items = this.pictures.map((picture, i) =>
      el(
        'li',
        {},
        el('img', { src: picture.thumb, alt: picture.name }),
        button(`Remove ${picture.name}`, 'close', () => this.#removePicture(i), { iconOnly: true }),
      ),
    );
    byId('waiting').replaceChildren(...items);
    byId('waiting-row').hidden = !items.length;
  }

  #removePicture(i) {
    this.pictures.splice(i, 1);
    this.#showPictures();
    this.focus();
  }

  submit() {
    const text = this.input.value.trim();
    if (!text && !this.pictures.length) return;
    if (!this.actions.send(text, this.pictures)) return;
    this.clear();
  }

  clear() {
    this.input.value = '';
    this.pictures = [];
    this.#showPictures();
    this.#resize();
  }

  /** Puts a text into the field, for the person to go on with. */
  set(text) {
    this.input.value = text;
    this.#resize();
  }

  /** Goes to the field, except where that would open a keyboard over half of the screen. */
  focus() {
    if (matchMedia('(pointer: fine)').matches) this.input.focus();
  }

  #resize() {
    fit(this.input);
  }

  /** `busy`: an answer is coming. `ready`: the server takes requests. `pictures`: the model reads them. */
  show({ busy, ready, pictures }) {
    const stop = byId('stop');
    const hadFocus = document.activeElement === stop || document.activeElement === byId('send');
    byId('send').hidden = busy;
    stop.hidden = !busy;
    byId('send').disabled = !ready;
    this.readable = pictures;
    byId('attach').disabled = !pictures;
    byId('attach').title = pictures ? 'Add pictures (or paste or drop them)' : 'This model reads no pictures';
    if (hadFocus) this.focus();
  }
}

/** Makes a text field as high as its text, within what its style allows. */
export function fit(area) {
  area.style.height = 'auto';
  area.style.height = `${area.scrollHeight + 2}px`;
}
