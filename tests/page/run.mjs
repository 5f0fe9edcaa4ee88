// Runs all tests of the page. `LEMMY=path/to/lemmy node run.mjs` tests against the real server with Lemmy Nano as well.

import { after } from 'node:test';
import { browser } from './harness.mjs';

const ALL = ['markdown', 'chat', 'trouble', 'keep', 'pictures', 'access'];
if (process.env.LEMMY) ALL.push('real');
const wanted = process.argv.slice(2);
for (const name of wanted.length ? wanted : ALL) await import(`./${name}.mjs`);

after(() => browser.close());
