//! Which pictures stand among the tokens of a saved session.

#![forbid(unsafe_code)]

use super::stream::{In, Out, hex};
use crate::TokenId;
use crate::error::{Error, Result};
use crate::limits;
use crate::model::Model;
use crate::session::Session;
use crate::session::pictures::Place;
use crate::vision::{ImageKey, Layout};

pub(super) fn write(out: &mut Out<'_>, model: &Model, places: &[Place]) -> Result<()> {
    // What has pictures has a tower: nothing else could have shown them to it.
    let tower = model.vision().ok_or_else(|| Error::Internal("pictures without a tower".into()))?;
    out.raw(tower.fingerprint())?;
    out.number(places.len() as u64)?;
    for place in places {
        out.number(place.at as u64)?;
        out.raw(place.key.bytes())?;
        out.number(place.layout.width() as u64)?;
        out.number(place.layout.height() as u64)?;
    }
    Ok(())
}

/// Each stands behind the one before, where the session has soft tokens; and the tower is the one that saw them, since
/// another would have seen something else.
pub(super) fn read(from: &mut In<'_>, model: &Model, tokens: &[TokenId]) -> Result<Vec<Place>> {
    const WHAT: &str = "fingerprint of the vision tower";
    let found: [u8; 32] = from.array(WHAT)?;
    let expected = model.vision().map(|vision| vision.fingerprint());
    if expected != Some(&found) {
        let expected = expected.map_or("nothing: the model was loaded without one".into(), |tower| hex(tower));
        return Err(Error::Session { what: WHAT, found: hex(&found), expected });
    }
    let count = from.number("number of pictures", 1, tokens.len() as u64)?;
    let mut places: Vec<Place> = Vec::new();
    for _ in 0..count {
        let least = places.last().map_or(0, Place::end) as u64;
        let at = from.number("position of a picture", least, tokens.len() as u64)? as usize;
        let key = ImageKey::from_bytes(from.array("key of a picture")?);
        let mut side = |what| from.number(what, 1, limits::IMAGE_SIDE);
        let (width, height) = (side("width of a picture")?, side("height of a picture")?);
        let wrong = |expected: &str| Error::Session {
            what: "size of a picture",
            found: format!("{width} x {height} pixels at position {at}"),
            expected: expected.into(),
        };
        let layout = Layout::exact(width as usize, height as usize);
        let layout = layout.ok_or_else(|| wrong("multiples of 48 and at most 1120 squares of that size"))?;
        let place = Place { at, key, layout };
        let is_soft = |ids: &[TokenId]| ids.iter().all(|&id| id == Session::SOFT);
        if !tokens.get(at..place.end()).is_some_and(is_soft) {
            return Err(wrong("as many soft tokens there"));
        }
        places.push(place);
    }
    Ok(places)
}
