// A picture from a file, as the server wants it: within the largest side, as a data URL, with a preview.

const MAX_SIDE = 1568;
const PREVIEW_SIDE = 256;
const MAX_PNG = 1_500_000; // characters of the data URL; a larger one becomes a JPEG
const READABLE = ['image/png', 'image/jpeg', 'image/webp', 'image/gif', 'image/bmp'];

/** The files among pasted or dropped things that may be pictures. */
export const pictureFiles = (transfer) => [...(transfer?.files ?? [])].filter((file) => file.type.startsWith('image/'));

/** Reads and resizes. Throws an `Error` in plain words. */
export async function readPicture(file) {
  const name = file.name || 'picture';
  if (!READABLE.includes(file.type)) {
    throw new Error(`“${name}” cannot be used: PNG, JPEG, WebP, GIF and BMP can.`);
  }
  let bitmap;
  try {
    bitmap = await createImageBitmap(file, { imageOrientation: 'from-image' });
  } catch {
    throw new Error(`“${name}” cannot be read as a picture.`);
  }
  const [width, height] = within(bitmap, MAX_SIDE);
  const canvas = draw(bitmap, width, height);
  // Drawings and screens stay exact; photographs would be large as PNG.
  let url = file.type === 'image/jpeg' ? '' : canvas.toDataURL('image/png');
  if (!url || url.length > MAX_PNG) url = canvas.toDataURL('image/jpeg', 0.9);
  const thumb = draw(bitmap, ...within(bitmap, PREVIEW_SIDE)).toDataURL('image/jpeg', 0.8);
  bitmap.close();
  return { url, thumb, name, width, height };
}

function within({ width, height }, side) {
  const scale = Math.min(1, side / Math.max(width, height));
  return [Math.max(1, Math.round(width * scale)), Math.max(1, Math.round(height * scale))];
}

function draw(bitmap, width, height) {
  const canvas = document.createElement('canvas');
  canvas.width = width;
  canvas.height = height;
  const context = canvas.getContext('2d');
  // What is transparent becomes white, as on paper.
  context.fillStyle = '#fff';
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = 'high';
  context.drawImage(bitmap, 0, 0, width, height);
  return canvas;
}
