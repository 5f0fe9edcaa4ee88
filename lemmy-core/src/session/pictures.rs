//! Pictures in a prompt and in a session's past: which one stands where, and how far it has been looked at.

#![forbid(unsafe_code)]

use super::Session;
use crate::TokenId;
use crate::chat::{Image, Prompt};
use crate::error::{Error, Result};
use crate::model::{Model, Vision};
use crate::threads::CancelToken;
use crate::vision::{Alpha, Budget, ImageKey, Layout, Patches, Rgb, SoftTokens, decode, resize, size};

/// Where the soft tokens of a picture stand, and which picture it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// Position of the first of them.
    pub(super) at: usize,
    pub(super) key: ImageKey,
    pub(super) layout: Layout,
}

impl Place {
    /// Soft tokens.
    pub(super) fn len(&self) -> usize {
        self.layout.soft_tokens()
    }

    /// Position after the last of them.
    pub(super) fn end(&self) -> usize {
        self.at + self.len()
    }

    /// Whether something that ends, or begins, at this position cuts the picture.
    pub(super) fn is_cut_at(&self, position: usize) -> bool {
        self.at < position && position < self.end()
    }
}

/// A picture of a prompt.
#[derive(Debug)]
pub(super) struct Picture {
    pub(super) place: Place,
    sight: Sight,
}

/// How far a picture has been looked at.
#[derive(Debug)]
enum Sight {
    /// Its file is not at hand: the session has read it before.
    Past,
    /// What its file's header says.
    File(Image),
    /// Decoded, and as large as the tower wants it. Bytes, which take a quarter of what patches take.
    Pixels(Rgb),
    /// Seen by the tower.
    Soft(SoftTokens),
}

impl Picture {
    /// A picture that the session has read before.
    pub(super) fn past(model: &Model, place: Place) -> Self {
        let soft =
            model.vision().and_then(|vision| vision.kept(&place.key)).filter(|soft| soft.layout() == place.layout);
        Self { place, sight: soft.map_or(Sight::Past, Sight::Soft) }
    }

    fn new(vision: &Vision, image: &Image, at: usize) -> Result<Self> {
        let budget = budget(image)?;
        let key = ImageKey::new(image.bytes(), budget);
        let (layout, sight) = match vision.kept(&key) {
            Some(soft) => (soft.layout(), Sight::Soft(soft)),
            None => {
                let (width, height) = size(image.bytes())?;
                (vision.layout(width, height, budget)?, Sight::File(image.clone()))
            }
        };
        Ok(Self { place: Place { at, key, layout }, sight })
    }

    /// Decodes the file, so that a broken one is known before anything is done.
    pub(super) fn decode(&mut self) -> Result<()> {
        match &self.sight {
            Sight::Past => Err(read_again()),
            Sight::File(image) => {
                let picture = decode(image.bytes(), Alpha::Drop)?;
                let layout = self.place.layout;
                if Layout::new(picture.width, picture.height, budget(image)?)? != layout {
                    let found = format!("{picture:?}");
                    return Err(Error::Image(format!("found {found}, which is not what its header says")));
                }
                self.sight = Sight::Pixels(resize(&picture, layout.width(), layout.height())?);
                Ok(())
            }
            Sight::Pixels(_) | Sight::Soft(_) => Ok(()),
        }
    }

    /// Has the tower look at it, unless that is done.
    pub(super) fn look(&mut self, model: &Model, cancel: &CancelToken) -> Result<()> {
        let Sight::Pixels(pixels) = &self.sight else { return Ok(()) };
        let vision = model.vision().ok_or_else(blind)?;
        // Another session, or the same prompt, may have shown it meanwhile.
        let soft = match vision.kept(&self.place.key).filter(|soft| soft.layout() == self.place.layout) {
            Some(soft) => soft,
            None => {
                let soft = vision.encode(&Patches::from_exact(pixels)?, cancel)?;
                vision.keep(self.place.key, soft.clone())?;
                soft
            }
        };
        self.sight = Sight::Soft(soft);
        Ok(())
    }

    /// Its soft tokens, once the tower has seen it.
    pub(super) fn soft(&self) -> Option<&SoftTokens> {
        if let Sight::Soft(soft) = &self.sight { Some(soft) } else { None }
    }
}

/// The tokens of a prompt with soft tokens and marks in the places of its pictures, and the pictures.
///
/// # Errors
///
/// [`Error::ContextFull`] as soon as they are more than `capacity`; else what is wrong with a picture, as far as its
/// header shows, or with the model that is to see it.
pub(super) fn expand(model: &Model, prompt: Prompt, capacity: usize) -> Result<(Vec<TokenId>, Vec<Picture>)> {
    let Prompt { ids: text, images: places, pictures: images, .. } = prompt;
    if places.len() != images.len() {
        let reason = format!("{} pictures, but the prompt has places for {}", images.len(), places.len());
        return Err(Error::Argument { name: "pictures", reason });
    }
    if images.is_empty() {
        return Ok((text, Vec::new()));
    }
    let vision = model.vision().ok_or_else(blind)?;
    let mark = |name: &str| {
        let id = model.tokenizer().find(name);
        id.ok_or_else(|| Error::Unsupported(format!("pictures: the vocabulary lacks `{name}`")))
    };
    let (begin, end) = (mark("<|image>")?, mark("<image|>")?);
    let out_of_order =
        || Error::Argument { name: "images", reason: "places out of order, or beyond the prompt".into() };
    let mut ids = Vec::with_capacity(text.len());
    let mut pictures = Vec::with_capacity(images.len());
    let mut from = 0;
    for (&place, image) in places.iter().zip(&images) {
        ids.extend_from_slice(text.get(from..place).ok_or_else(out_of_order)?);
        ids.push(begin);
        let picture = Picture::new(vision, image, ids.len())?;
        ids.extend(std::iter::repeat_n(Session::SOFT, picture.place.len()));
        ids.push(end);
        pictures.push(picture);
        if ids.len() > capacity {
            return Err(Error::ContextFull { used: 0, requested: ids.len(), capacity });
        }
        from = place + 1;
    }
    ids.extend_from_slice(text.get(from..).ok_or_else(out_of_order)?);
    Ok((ids, pictures))
}

/// How many of a session's tokens a prompt begins with, at most `most`. A picture counts as a whole or not at all, and
/// only if it is the same one.
pub(super) fn common(past: (&[TokenId], &[Place]), prompt: (&[TokenId], &[Picture]), most: usize) -> usize {
    let (tokens, places) = past;
    let (ids, pictures) = prompt;
    let mut same = tokens.iter().zip(ids).take_while(|(a, b)| a == b).count().min(most);
    let mut pairs = (0..places.len().max(pictures.len())).map(|i| (places.get(i), pictures.get(i).map(|p| &p.place)));
    if let Some((a, b)) = pairs.find(|(a, b)| a != b) {
        let first = a.into_iter().chain(b).map(|place| place.at).min();
        same = same.min(first.unwrap_or(same));
    }
    let cut = pictures.iter().find(|picture| picture.place.is_cut_at(same));
    cut.map_or(same, |picture| picture.place.at)
}

/// The error of a soft token whose picture is not at hand.
pub(super) fn read_again() -> Error {
    Error::Argument { name: "ids", reason: "a soft token would have to be read again".into() }
}

fn budget(image: &Image) -> Result<Budget> {
    image.soft_tokens().map_or(Ok(Budget::default()), Budget::new)
}

fn blind() -> Error {
    Error::Unsupported("pictures: the model was loaded without a vision tower (an mmproj file)".into())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    const S: TokenId = Session::SOFT;

    /// A picture of two soft tokens.
    fn place(at: usize, name: &str) -> Place {
        let key = ImageKey::new(name.as_bytes(), Budget::default());
        Place { at, key, layout: Layout::exact(96, 48).unwrap() }
    }

    fn picture(at: usize, name: &str) -> Picture {
        Picture { place: place(at, name), sight: Sight::Past }
    }

    #[test]
    fn a_picture_is_common_as_a_whole_or_not_at_all() {
        let ids = [1, S, S, 2, S, S, 3];
        let past = [place(1, "a"), place(4, "b")];
        let of = |pictures: &[Picture], most| common((&ids, &past), (&ids, pictures), most);
        assert_eq!(of(&[picture(1, "a"), picture(4, "b")], 7), 7);
        assert_eq!(of(&[picture(1, "a"), picture(4, "b")], 6), 6);
        assert_eq!(of(&[picture(1, "a"), picture(4, "b")], 5), 4);
        assert_eq!(of(&[picture(1, "a"), picture(4, "b")], 2), 1);
        assert_eq!(of(&[picture(1, "a"), picture(4, "c")], 7), 4);
        assert_eq!(of(&[picture(1, "b"), picture(4, "a")], 7), 1);
    }

    #[test]
    fn soft_tokens_without_a_picture_are_no_picture() {
        let ids = [1, S, S, 2];
        assert_eq!(common((&ids, &[]), (&ids, &[]), 4), 4);
        assert_eq!(common((&ids, &[]), (&ids, &[picture(1, "a")]), 4), 1);
        assert_eq!(common((&ids, &[place(1, "a")]), (&ids, &[]), 4), 1);
        // What differs behind the common tokens is of no account.
        assert_eq!(common((&ids, &[place(1, "a")]), (&[1], &[]), 1), 1);
    }

    #[test]
    fn a_smaller_picture_ends_the_common_tokens_before_it() {
        let past = ([1, S, S, 2], [place(1, "a")]);
        let mut small = picture(1, "a");
        small.place.layout = Layout::exact(48, 48).unwrap();
        assert_eq!(common((&past.0, &past.1), (&[1, S, 2], &[small]), 3), 1);
    }
}
