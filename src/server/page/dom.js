// Building DOM nodes. Text only ever becomes text nodes, so nothing a model or a file says can become markup.

/**
 * Makes an element. `props` are attributes, except `text` (its text) and `on` (listeners by event name). A value of
 * false, null or undefined leaves the attribute out, true sets it empty. Children that are null or false are skipped.
 */
export function el(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === false || value === null || value === undefined) continue;
    if (name === 'text') node.textContent = value;
    else if (name === 'on') for (const [event, f] of Object.entries(value)) node.addEventListener(event, f);
    else node.setAttribute(name, value === true ? '' : value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}

const SVG = 'http://www.w3.org/2000/svg';

/** An icon from the symbols in index.html, hidden from screen readers: what it means is said by its button. */
export function icon(name) {
  const svg = document.createElementNS(SVG, 'svg');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  const use = document.createElementNS(SVG, 'use');
  use.setAttribute('href', `#i-${name}`);
  svg.append(use);
  return svg;
}

/** A button with an icon and, unless `iconOnly`, a visible label. */
export function button(label, iconName, onClick, { iconOnly = false, ...props } = {}) {
  const named = iconOnly ? { 'aria-label': label, title: label } : {};
  return el(
    'button',
    { type: 'button', ...named, ...props, on: { click: onClick } },
    iconName && icon(iconName),
    !iconOnly && el('span', { text: label }),
  );
}

export const byId = (id) => document.getElementById(id);

/** Copies text and shows on the button that it worked. */
export async function copy(text, control) {
  const label = control.querySelector('span');
  const before = label?.textContent;
  let done = 'Copied';
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    done = copyBySelection(text) ? 'Copied' : 'Not allowed';
  }
  control.classList.add('done');
  if (label) label.textContent = done;
  announce(done);
  setTimeout(() => {
    control.classList.remove('done');
    if (label) label.textContent = before;
  }, 1600);
}

// The clipboard interface exists on https and localhost only; a server in the local network is neither.
function copyBySelection(text) {
  const area = el('textarea', { class: 'sr', 'aria-hidden': 'true', tabindex: '-1' });
  area.value = text;
  const focused = document.activeElement;
  document.body.append(area);
  area.select();
  const worked = document.execCommand('copy');
  area.remove();
  focused?.focus?.();
  return worked;
}

/** Says something to screen readers only. */
export function announce(text) {
  const region = byId('announcer');
  region.textContent = '';
  requestAnimationFrame(() => (region.textContent = text));
}
