//! Pictures.

use std::mem::offset_of;
use std::ptr::null_mut;

use lemmy_core::{Error, Image, limits, vision};

use crate::error::{Failure, LemmyError, LemmyStatus};
use crate::guard::guard_value;
use crate::value::{self, DEFAULT};
use crate::{answer, handle, text, versioned};

/// A picture to show a model. Shared.
pub struct LemmyImage {
    pub(crate) image: Image,
}

/// Options of a picture.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct LemmyImageOptions {
    struct_size: usize,
    soft_tokens: u32,
    reserved: u32,
}

// SAFETY: numbers without padding on the machines that `lib.rs` allows.
unsafe impl versioned::Versioned for LemmyImageOptions {
    const FIRST_SIZE: usize = 16;
}

impl versioned::Options for LemmyImageOptions {
    const DEFAULT: Self = Self { struct_size: size_of::<Self>(), soft_tokens: DEFAULT, reserved: 0 };
    const RESERVED: Option<usize> = Some(offset_of!(Self, reserved));
}

impl LemmyImageOptions {
    /// What a picture may take.
    const SOFT_TOKENS: [u16; 5] = [70, 140, 280, 560, 1120];

    fn make(&self, image: Image) -> Result<LemmyImage, Failure> {
        let Some(wanted) = value::set(self.soft_tokens) else { return Ok(LemmyImage { image }) };
        match Self::SOFT_TOKENS.iter().find(|&&known| u32::from(known) == wanted) {
            Some(&known) => Ok(LemmyImage { image: image.budget(known) }),
            None => {
                Err(Failure::argument("soft_tokens", format!("found {wanted}, expected 70, 140, 280, 560 or 1120")))
            }
        }
    }
}

/// Writes the defaults.
///
/// # Safety
///
/// `options` is null or may be written to for `size` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_image_options_init(options: *mut LemmyImageOptions, size: usize) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe { versioned::init(options, size) }
}

/// A picture file's bytes.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_image_from_bytes(
    data: *const u8,
    size: usize,
    options: *const LemmyImageOptions,
    image: *mut *mut LemmyImage,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("image", image), || {
            let options: LemmyImageOptions = versioned::read("options", options)?;
            let bytes = text::array("data", data, size)?;
            vision::size(bytes)?;
            options.make(Image::from_bytes(bytes))
        })
    }
}

/// Pixels.
///
/// # Safety
///
/// Pointers are as the header says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_image_from_rgb(
    pixels: *const u8,
    width: u32,
    height: u32,
    stride: usize,
    options: *const LemmyImageOptions,
    image: *mut *mut LemmyImage,
    error: *mut *mut LemmyError,
) -> LemmyStatus {
    // SAFETY: as promised.
    unsafe {
        answer::object(error, ("image", image), || {
            let options: LemmyImageOptions = versioned::read("options", options)?;
            let (header, bytes) = Bitmap::new(width, height, stride)?;
            let pixels = text::array("pixels", pixels, bytes)?;
            let file = header.file(pixels)?;
            vision::size(&file)?;
            options.make(Image::from_bytes(file))
        })
    }
}

/// A BMP file of 24 bits a pixel: the least that pixels need to be a picture file.
struct Bitmap {
    width: u32,
    height: u32,
    /// Bytes from one row to the next, of the caller's and of the file's.
    from: usize,
    to: usize,
}

impl Bitmap {
    /// Bytes before the pixels: the file's header and the picture's.
    const HEADER: u32 = 14 + 40;

    /// What the file will be, and how many bytes the caller's pixels have.
    fn new(width: u32, height: u32, stride: usize) -> Result<(Self, usize), Failure> {
        let size = u64::from(width) * 3;
        if width == 0 || height == 0 || (stride as u64) < size {
            let found = format!("found {width} x {height} with rows of {stride} bytes");
            return Err(Failure::argument(
                "stride",
                format!("{found}, expected at least one pixel and 3 * width bytes"),
            ));
        }
        let row = size.next_multiple_of(4);
        let bytes = row.saturating_mul(height.into());
        if bytes > limits::IMAGE_BYTES as u64 {
            let most = limits::IMAGE_BYTES;
            return Err(Error::Image(format!("found {width} x {height} pixels, at most {most} bytes are read")).into());
        }
        // The last row may end after its pixels.
        let given = stride.checked_mul(height as usize - 1).and_then(|all| all.checked_add(size as usize));
        let given = given.ok_or_else(|| Failure::argument("stride", "found rows beyond what memory has"))?;
        Ok((Self { width, height, from: stride, to: row as usize }, given))
    }

    fn file(&self, pixels: &[u8]) -> Result<Vec<u8>, Failure> {
        let size = self.to * self.height as usize;
        let mut file = Vec::new();
        let all = Self::HEADER as usize + size;
        file.try_reserve_exact(all).map_err(|_| Error::OutOfMemory {
            what: "a picture".into(),
            needed: all as u64,
            limit: u64::MAX,
        })?;
        // Microsoft, "BITMAPFILEHEADER" and "BITMAPINFOHEADER"; all little-endian, rows from the bottom.
        file.extend(b"BM");
        for number in
            [all as u32, 0, Self::HEADER, 40, self.width, self.height, 24 << 16 | 1, 0, size as u32, 0, 0, 0, 0]
        {
            file.extend(number.to_le_bytes());
        }
        for row in pixels.chunks(self.from).rev() {
            let start = file.len();
            for [red, green, blue] in row.as_chunks().0.iter().take(self.width as usize) {
                file.extend([blue, green, red]);
            }
            file.resize(start + self.to, 0);
        }
        Ok(file)
    }
}

/// Another reference.
///
/// # Safety
///
/// Null, or a picture that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_image_retain(image: *mut LemmyImage) -> *mut LemmyImage {
    // SAFETY: as promised.
    guard_value(null_mut(), || unsafe { handle::retain(image) })
}

/// Gives a reference back.
///
/// # Safety
///
/// Null, or a picture that is held.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn lemmy_image_release(image: *mut LemmyImage) {
    // SAFETY: as promised.
    guard_value((), || unsafe { handle::release(image) });
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[cfg(feature = "vision")]
    #[test]
    fn pixels_come_back_as_they_were() {
        // Two rows of three pixels, eleven bytes apart; the last row ends after its pixels.
        let mut pixels: Vec<u8> = (0..20).collect();
        let (header, bytes) = Bitmap::new(3, 2, 11).unwrap();
        assert_eq!(bytes, 20);
        let picture = vision::decode(&header.file(&pixels).unwrap(), vision::Alpha::Drop).unwrap();
        pixels.drain(9..11);
        assert_eq!((picture.width, picture.height, picture.data), (3, 2, pixels));
    }

    #[test]
    fn sizes_that_make_no_sense_are_refused() {
        for (width, height, stride) in [(0, 1, 0), (1, 0, 3), (2, 2, 5), (1, 3, usize::MAX / 2)] {
            assert_eq!(Bitmap::new(width, height, stride).err().unwrap().status(), 850);
        }
        assert_eq!(Bitmap::new(u32::MAX, u32::MAX, usize::MAX).err().unwrap().status(), 610);
    }
}
