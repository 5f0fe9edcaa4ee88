// Watches the server until it is ready, then learns what it serves.

import { byId } from './dom.js';
import { explain } from './api.js';
import { askKey } from './dialogs.js';

const PAUSE = 700; // milliseconds between two looks at a server that is not ready

export class Watch {
  /** `changed` is called when the server became ready or stopped to be. */
  constructor(client, changed) {
    this.client = client;
    this.changed = changed;
    this.ready = false;
    this.model = null;
    this.contextSize = null;
    this.vision = true;
    this.properties = null;
    this.watching = false;
    byId('banner-again').addEventListener('click', () => this.begin());
  }

  /** A model's name as a person would write it. */
  get modelName() {
    const name = this.model?.replace(/\.gguf$/i, '');
    return name && /^lemmy-nano/i.test(name)
      ? name.replace(/^lemmy-nano/i, 'Lemmy Nano').replace(/-(q\w+|f16|f32|bf16)$/i, '')
      : name;
  }

  async begin() {
    if (this.watching) return;
    this.watching = true;
    let failures = 0;
    for (;;) {
      try {
        await this.client.get('health');
        await this.#learn();
        break;
      } catch (error) {
        this.#become(false);
        if (error.loading) {
          failures = 0;
          showBanner({ text: 'The model is being loaded', progress: error.progress ?? null });
        } else {
          const { title, text } = explain(error);
          failures += 1;
          showBanner({ text: `${title}. ${text}`, again: failures >= 3, problem: true });
          if (failures >= 3) {
            this.watching = false;
            return;
          }
        }
        await new Promise((resolve) => setTimeout(resolve, PAUSE));
      }
    }
    this.watching = false;
    showBanner(null);
    this.#become(true);
  }

  #become(ready) {
    if (ready === this.ready) return;
    this.ready = ready;
    this.changed();
  }

  async #learn() {
    const models = await this.#withKey('v1/models');
    const model = models?.data?.[0];
    this.model = model?.id ?? null;
    this.contextSize = model?.meta?.n_ctx ?? model?.max_model_len ?? null;
    const inputs = model?.architecture?.input_modalities;
    if (Array.isArray(inputs)) this.vision = inputs.includes('image');
    try {
      this.properties = await this.client.get('props');
      this.contextSize ??= this.properties.default_generation_settings?.n_ctx ?? null;
    } catch {
      // Only the hints beside the settings come from there.
    }
  }

  /** GET that asks for the key; without one the page stays usable and asks again when something is sent. */
  async #withKey(path) {
    for (let asks = 0; ; asks += 1) {
      try {
        return await this.client.get(path);
      } catch (error) {
        if (error.status !== 401) throw error;
        const key = await askKey(asks > 0 || Boolean(this.client.key));
        if (!key) return null;
        this.client.key = key;
      }
    }
  }
}

function showBanner(state) {
  byId('banner').hidden = !state;
  if (!state) return;
  const { text, progress = null, again = false, problem = false } = state;
  const percent = progress === null ? null : Math.round(100 * progress);
  byId('banner').classList.toggle('problem', problem);
  byId('banner-text').textContent = percent === null ? text : `${text}, ${percent} %`;
  byId('banner-bar').hidden = percent === null;
  byId('banner-bar').setAttribute('aria-valuenow', String(percent ?? 0));
  byId('banner-fill').style.width = `${percent ?? 0}%`;
  byId('banner-again').hidden = !again;
}
