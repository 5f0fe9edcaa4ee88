//! A picture file's bytes to pixels.

use crate::error::Result;

/// Pixels: rows from the top, three bytes each (red, green, blue).
#[derive(Clone, PartialEq, Eq)]
pub struct Rgb {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// `width * height * 3` bytes.
    pub data: Vec<u8>,
}

impl std::fmt::Debug for Rgb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rgb {} x {}", self.width, self.height)
    }
}

/// What becomes of transparency.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Alpha {
    /// It is dropped; the colour under it shows. As the model's own processor does with files.
    #[default]
    Drop,
    /// The picture is laid on white.
    White,
}

/// Decodes PNG, JPEG, WebP, GIF (the first frame) or BMP, turned as its EXIF orientation says. Colours of 16 bits lose
/// their low byte, grey and palettes become RGB, colour profiles are not applied: as Pillow's `convert("RGB")`.
///
/// # Errors
///
/// [`Error::Image`](crate::Error::Image) for bytes that are no such picture, are damaged, or would become more than
/// [`limits::IMAGE_PIXELS`](crate::limits::IMAGE_PIXELS); nothing is reserved for these.
/// [`Error::Unsupported`](crate::Error::Unsupported) in a build without the feature `vision`.
pub fn decode(bytes: &[u8], alpha: Alpha) -> Result<Rgb> {
    decoder::decode(bytes, alpha)
}

/// Width and height that [`decode`] would give, from the file's header alone.
///
/// # Errors
///
/// As [`decode`], as far as the header shows.
pub fn size(bytes: &[u8]) -> Result<(usize, usize)> {
    decoder::size(bytes)
}

#[cfg(not(feature = "vision"))]
mod decoder {
    use super::{Alpha, Rgb};
    use crate::error::{Error, Result};

    pub(super) fn decode(_: &[u8], _: Alpha) -> Result<Rgb> {
        Err(without())
    }

    pub(super) fn size(_: &[u8]) -> Result<(usize, usize)> {
        Err(without())
    }

    fn without() -> Error {
        Error::Unsupported("this build reads no picture files: it lacks the feature `vision`".into())
    }
}

#[cfg(feature = "vision")]
mod decoder {
    use std::io::Cursor;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use image::metadata::Orientation;
    use image::{ImageDecoder, ImageFormat, ImageReader, Limits};

    use super::super::convert;
    use super::super::layout::check_size;
    use super::{Alpha, Rgb};
    use crate::error::{Error, Result, try_vec};
    use crate::limits;

    pub(super) fn decode(bytes: &[u8], alpha: Alpha) -> Result<Rgb> {
        guarded(|| {
            let mut decoder = open(bytes)?;
            let (width, height) = decoder.dimensions();
            let color = decoder.color_type();
            let orientation = orientation(bytes, &mut decoder);
            let mut raw = try_vec(decoder.total_bytes() as usize, 0, "a picture")?;
            decoder.read_image(&mut raw).map_err(bad)?;
            let (width, height) = (width as usize, height as usize);
            let data = convert::to_rgb(raw, color, alpha)
                .ok_or_else(|| Error::Image(format!("found pixels of {color:?}, which no picture here should have")))?;
            convert::turn(Rgb { width, height, data }, orientation)
        })
    }

    pub(super) fn size(bytes: &[u8]) -> Result<(usize, usize)> {
        guarded(|| {
            let mut decoder = open(bytes)?;
            let (width, height) = decoder.dimensions();
            let (width, height) = (width as usize, height as usize);
            let swaps = convert::swaps_sides(orientation(bytes, &mut decoder));
            Ok(if swaps { (height, width) } else { (width, height) })
        })
    }

    /// Reads the header, and refuses what would become too large before anything is reserved for it.
    fn open(bytes: &[u8]) -> Result<impl ImageDecoder> {
        if bytes.len() > limits::IMAGE_BYTES {
            let most = limits::IMAGE_BYTES;
            return Err(Error::Image(format!("found a file of {} bytes, at most {most} are read", bytes.len())));
        }
        let format = image::guess_format(bytes).ok().filter(|format| {
            use ImageFormat::{Bmp, Gif, Jpeg, Png, WebP};
            [Png, Jpeg, WebP, Gif, Bmp].contains(format)
        });
        let format = format.ok_or_else(|| {
            let head = bytes.get(..bytes.len().min(8)).unwrap_or_default();
            Error::Image(format!("found a file that begins with {head:02x?}, expected PNG, JPEG, WebP, GIF or BMP"))
        })?;
        let mut limits = Limits::default();
        limits.max_image_width = Some(limits::IMAGE_SIDE as u32);
        limits.max_image_height = Some(limits::IMAGE_SIDE as u32);
        limits.max_alloc = Some(limits::IMAGE_MEMORY);
        let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
        reader.limits(limits);
        let decoder = reader.into_decoder().map_err(bad)?;
        let (width, height) = decoder.dimensions();
        check_size(width.into(), height.into())?;
        match decoder.total_bytes() {
            needed if needed > limits::IMAGE_MEMORY => {
                Err(Error::OutOfMemory { what: "a picture".into(), needed, limit: limits::IMAGE_MEMORY })
            }
            _ => Ok(decoder),
        }
    }

    /// What EXIF says; a picture with broken EXIF stays as it is.
    fn orientation(bytes: &[u8], decoder: &mut impl ImageDecoder) -> Orientation {
        let found = match bytes.strip_prefix(b"RIFF") {
            None => decoder.orientation().ok(),
            Some(riff) => webp_exif(riff).and_then(Orientation::from_exif_chunk),
        };
        found.unwrap_or(Orientation::NoTransforms)
    }

    /// The chunk `EXIF` of a WebP file, from behind its first word. The decoder would reserve what the chunk says it is
    /// long before it looks whether that is there.
    fn webp_exif(riff: &[u8]) -> Option<&[u8]> {
        let mut chunks = riff.get(8..)?;
        loop {
            let (name, rest) = chunks.split_at_checked(4)?;
            let (len, rest) = rest.split_first_chunk::<4>()?;
            let len = u32::from_le_bytes(*len) as usize;
            if name == b"EXIF" {
                return rest.get(..len);
            }
            // Chunks stand at even places.
            chunks = rest.get(len.checked_next_multiple_of(2)?..)?;
        }
    }

    fn bad(error: image::ImageError) -> Error {
        Error::Image(error.to_string())
    }

    /// The decoders are other people's code on untrusted bytes: a panic of theirs is a broken file to us.
    fn guarded<T>(f: impl FnOnce() -> Result<T>) -> Result<T> {
        catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(Error::Image("its decoder failed on it".into())))
    }
}
